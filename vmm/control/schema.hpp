// SPDX-License-Identifier: Apache-2.0
// The types of the control protocol, named as in QEMU's QAPI, with the members we give or take.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace holdfast::control::schema {

/// `type` names a Type; "[T]" is an array of T.
struct Member {
    std::string_view name;
    std::string_view type;
    bool optional = false;
};

enum class Meta : std::uint8_t { Builtin, Enum, Object };

struct Type {
    std::string_view name;
    Meta meta = Meta::Builtin;
    std::string_view json;                       ///< Builtin: "string", "int", "boolean", "value"
    std::span<const std::string_view> values{};  ///< Enum
    std::span<const Member> members{};           ///< Object
};

/// Every type that a command or an event uses, arrays excepted.
[[nodiscard]] std::span<const Type> types() noexcept;
/// Null for an unknown name.
[[nodiscard]] const Type* find(std::string_view name) noexcept;
/// T for "[T]", empty for anything else.
[[nodiscard]] std::string_view element(std::string_view type) noexcept;

// The names that belong to our own enums, in their order.
inline constexpr std::string_view kRunStates[] = {"prelaunch", "running",        "paused",
                                                  "shutdown",  "guest-panicked", "internal-error"};
inline constexpr std::string_view kCauses[] = {"host-error",  "host-qmp-quit",  "host-qmp-system-reset",
                                               "host-signal", "guest-shutdown", "guest-reset",
                                               "guest-panic"};
inline constexpr std::string_view kPanicActions[] = {"pause", "poweroff", "run"};

}  // namespace holdfast::control::schema
