// SPDX-License-Identifier: Apache-2.0
// Counters in a TPM's NV memory, as TPM2_NV_Certify vouches for them (TPM 2.0 Library 1.59, Part 2 §13.5 and
// §10.12.8). An index proves what it is by its Name, which covers attributes and policy: the verifier brings
// the public area that it expects, and compares.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "attest/formats/tpm/authenticate.hpp"

namespace holdfast::attest::tpm {

struct NvPublic {
    std::uint32_t index = 0;
    std::uint32_t attributes = 0;
    std::vector<std::byte> auth_policy;
    std::uint16_t size = 0;
    std::vector<std::byte> name;  ///< recomputed
};
/// TPMS_NV_PUBLIC or TPM2B_NV_PUBLIC. Exact: nothing may follow.
[[nodiscard]] Result<NvPublic> parse_nv_public(std::span<const std::byte> bytes);

struct NvCounter {
    std::uint64_t value = 0;
    std::uint32_t attributes = 0;
};
/// The statement is of the index that is expected, and of all its eight bytes.
[[nodiscard]] std::optional<Bound<NvCounter>> bind_counter(const Authenticated<Signed>& certification,
                                                           const NvPublic& expected, Findings& findings);

struct CounterPolicy {
    std::optional<std::uint64_t> at_least;  ///< what was seen before
    bool orderly = false;                   ///< allowed: such a counter may jump ahead when power is lost
};
void appraise_counter(const Bound<NvCounter>& counter, const CounterPolicy& policy, Findings& findings);

}  // namespace holdfast::attest::tpm
