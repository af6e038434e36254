// SPDX-License-Identifier: Apache-2.0
// What `holdfast doctor` finds: one row a question, each with what it means and its fix.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace holdfast::cli {

enum class Health : std::uint8_t {
    Ok,
    Warn,     ///< works, but less well or less safely; or it cannot be told
    Missing,  ///< is not there, or is not built
};

struct Finding {
    std::string group;
    std::string id;  ///< stable, for programs
    std::string title;
    Health health = Health::Ok;
    std::string detail;     ///< what was found
    std::string fix;        ///< what to do; empty if there is nothing
    bool required = false;  ///< nothing can be launched without it
};
using Findings = std::vector<Finding>;

// In the order in which they are shown.
void look_at_kvm(Findings& out);           ///< KVM, what it can run, memory encryption
void look_at_hardware(Findings& out);      ///< TPM, IMA, IOMMU
void look_at_surroundings(Findings& out);  ///< kernel, jail, limits, programs

/// As doctor shows them, without its verdict.
void print_findings(const Findings& findings);

/// The first line of a small file, without the newline; none if it cannot be read.
[[nodiscard]] std::optional<std::string> first_line(const std::string& path);

}  // namespace holdfast::cli
