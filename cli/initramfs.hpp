// SPDX-License-Identifier: Apache-2.0
// Writing an initial RAM file system: a cpio archive of format newc (Linux,
// Documentation/driver-api/early-userspace/ buffer-format.rst), not compressed. The same entries give the
// same bytes: no times, owners or inode numbers of the machine it is made on.
#pragma once

#include <cstddef>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::cli {

/// Entries in the order added; folders that a name needs are made by themselves.
class Initramfs {
public:
    Initramfs();
    /// `name` has no '/' in front and none of "", "." and ".." in it. Throws HF-0215 for another, and for a
    /// file beyond what the format can hold.
    void add_file(std::string_view name, std::span<const std::byte> bytes, unsigned mode);
    void add_folder(std::string_view name);
    void add_link(std::string_view name, std::string_view target);
    [[nodiscard]] bool has(std::string_view name) const { return names_.contains(std::string{name}); }
    /// Ends it. The last call.
    [[nodiscard]] std::vector<std::byte> finish();

private:
    void add(std::string_view name, unsigned mode, std::span<const std::byte> bytes, unsigned major,
             unsigned minor);
    void add_parents(std::string_view name);
    void pad();
    std::vector<std::byte> bytes_;
    std::set<std::string> names_;
    unsigned inode_ = 0;
};

}  // namespace holdfast::cli
