// SPDX-License-Identifier: Apache-2.0
// Which files of a kernel's modules must be loaded, and in which order (modules.dep(5), modules.builtin).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::cli {

/// One kernel's /lib/modules/RELEASE.
class KernelModules {
public:
    /// Throws HF-0215 if the folder has no modules.dep.
    explicit KernelModules(std::string folder);
    /// Paths of the named modules and all that they need, each once, in the order to load them in. What is
    /// built into this kernel needs none. Throws HF-0215 for a module that this kernel does not have.
    [[nodiscard]] std::vector<std::string> closure(std::span<const std::string_view> names) const;
    [[nodiscard]] bool has(std::string_view name) const;

private:
    struct Row {
        std::string path;                ///< relative to the folder
        std::vector<std::string> needs;  ///< paths
    };
    [[nodiscard]] const Row* row_of(std::string_view name) const;
    std::string folder_;
    std::vector<Row> rows_;
    std::string builtin_;
};

/// A module's ELF file, decompressed if it is packed (.ko, .ko.xz). Throws HF-0215.
[[nodiscard]] std::vector<std::byte> module_file(const std::string& path);

}  // namespace holdfast::cli
