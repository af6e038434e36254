// SPDX-License-Identifier: Apache-2.0
// QEMU's command line as words: options with their values, and values as named fields, in both forms that
// libvirt writes (QEMU 10.0's keyval and QemuOpts syntax, and JSON). What they mean is plan.cpp's business.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libvirt/refusal.hpp"

namespace holdfast::libvirt {

inline constexpr std::size_t kMaxOptions = 1024;
inline constexpr std::size_t kMaxFields = 64;
inline constexpr std::size_t kMaxValue = 64 * 1024;

struct Option {
    std::string name;  ///< without dashes
    std::string value;
};

/// `words` without the program's name. Which options take a value is QEMU's: the known ones are in a table,
/// an unknown one is refused.
[[nodiscard]] Verdict<std::vector<Option>> read_options(std::span<const char* const> words);

/// The fields of one value, in their order. What nobody has asked for is found by unused().
class Fields {
public:
    /// `first` names a first field without "name=". JSON objects come out flat: {"a":{"b":true}} is a.b=on.
    static Verdict<Fields> read(const std::string& value, std::string_view first);

    [[nodiscard]] bool has(std::string_view name) const;
    /// Empty if there is none; of several the last, as QEMU has it.
    std::string take(std::string_view name);
    /// Fields that mean nothing to Holdfast and may be there.
    void ignore(std::initializer_list<std::string_view> names);
    /// Refuses what was neither taken nor ignored. `owner` is for the message: "-device virtio-blk-pci".
    [[nodiscard]] Verdict<void> unused(std::string_view owner) const;

private:
    struct Field {
        std::string name;
        std::string value;
        bool used = false;
    };
    std::vector<Field> fields_;
};

}  // namespace holdfast::libvirt
