// SPDX-License-Identifier: Apache-2.0
// Which devices may be handed to a guest, and how much of its memory they may reach. What no rule names is
// refused; so is a device that the host cannot contain. There is no override.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "iommu/facts.hpp"

namespace holdfast::iommu {

/// At least one of `address` and `ids` is given; both must fit then.
struct Rule {
    std::string address;
    std::optional<PciIds> ids;
    std::uint64_t max_bytes = 256ULL << 20;
    std::uint64_t max_mappings = 32768;
    bool ats = false;  ///< a device that translates itself is past every check of ours
    bool pri = false;
    bool intx = false;  ///< its interrupt line is the guest's too
};

struct Policy {
    std::vector<Rule> rules;
};

enum class Reason : std::uint8_t {
    NoRule,
    NoIommu,
    SharedGroup,
    UntranslatedDomain,
    DirectRegion,
    NoReset,
    NoInterruptRemapping,
    UnsafeInterrupts,
    CapabilitiesUnknown,
    Ats,
    Pri,
};
/// A stable word for programs, a sentence why, and one what to do.
struct ReasonWords {
    std::string_view name;
    std::string_view why;
    std::string_view fix;
};
[[nodiscard]] ReasonWords words_of(Reason reason) noexcept;

struct Finding {
    Reason reason;
    std::string detail;  ///< which members, which region; may be empty
};

struct Verdict {
    std::optional<std::size_t> rule;  ///< the first that fits
    std::vector<Finding> findings;    ///< all that is against it
    [[nodiscard]] bool allowed() const noexcept { return findings.empty(); }
};

[[nodiscard]] Verdict judge(const Policy& policy, const DeviceFacts& device);

}  // namespace holdfast::iommu
