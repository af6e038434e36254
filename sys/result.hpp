// SPDX-License-Identifier: Apache-2.0
// The error value of the whole tree, Result<T>, and HF_TRY. See docs/architecture.md, "Errors".
#pragma once

#include <concepts>
#include <cstdint>
#include <expected>
#include <string_view>
#include <type_traits>
#include <utility>

namespace holdfast {

/// Whose doing it was; decides what happens next (docs/architecture.md).
enum class Fault : std::uint8_t {
    Guest,  ///< answered in the guest's own protocol; the VM goes on
    Peer,   ///< another process of ours or a client broke the protocol: drop it
    Os,     ///< a system call failed
    Input,  ///< what the user gave us cannot be used
};

/// A small value that never allocates. `what` is a string literal naming what was attempted or
/// found; context is added by the caller that knows it.
struct Error {
    Fault fault = Fault::Os;
    int os_errno = 0;
    const char* what = "";
};

/// An error made from the errno of the system call that has just failed.
[[nodiscard]] Error os_error(const char* what) noexcept;
[[nodiscard]] constexpr Error guest_fault(const char* what) noexcept { return {Fault::Guest, 0, what}; }
[[nodiscard]] constexpr Error peer_fault(const char* what) noexcept { return {Fault::Peer, 0, what}; }
[[nodiscard]] constexpr Error input_error(const char* what) noexcept { return {Fault::Input, 0, what}; }

/// The name of an errno ("ENOENT"), or "" for 0 and unknown ones.
[[nodiscard]] std::string_view errno_name(int os_errno) noexcept;

/// std::expected with the two conveniences we use: a bare `return error;`, and nodiscard.
template <typename T>
class [[nodiscard]] Result : public std::expected<T, Error> {
public:
    using std::expected<T, Error>::expected;
    Result()
        requires std::is_void_v<T>
    = default;
    // NOLINTNEXTLINE(google-explicit-constructor): `return error;` is the point.
    Result(Error error) : std::expected<T, Error>{std::unexpect, error} {}
};

/// Prints what and errno, then aborts. For our own bugs only: never reachable from guest, peer,
/// network or user bytes.
[[noreturn]] void bug(const char* what) noexcept;

/// An invariant of ours, checked in every build.
inline void check(bool holds, const char* what) noexcept {
    if (!holds) [[unlikely]]
        bug(what);
}

}  // namespace holdfast

/// Takes the value out of a Result, or returns its error from the enclosing function. Moves, so it
/// works for move-only values. Not nested: the inner one would shadow.
#define HF_TRY(...)                           \
    __extension__({                           \
        auto hf_result_ = (__VA_ARGS__);      \
        if (!hf_result_) [[unlikely]]         \
            return hf_result_.error();        \
        ::holdfast::detail::take(hf_result_); \
    })

namespace holdfast::detail {
template <typename R>
decltype(auto) take(R& result) {
    if constexpr (std::is_void_v<typename R::value_type>) return;
    else return typename R::value_type(std::move(*result));
}
}  // namespace holdfast::detail
