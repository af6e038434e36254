// SPDX-License-Identifier: Apache-2.0
// What a verifier accepts of an authentic SNP report. The default is strict about what every verifier wants,
// and silent about what only this one can know (which launch digest, which chip).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "attest/formats/snp/authenticate.hpp"

namespace holdfast::attest::snp {

struct Policy {
    using Value = std::vector<std::byte>;

    bool allow_debug = false;
    bool allow_migration_agent = false;
    std::uint32_t max_vmpl = 0;
    std::optional<Tcb> min_tcb;         ///< of what the platform reports, which its key is derived from
    std::optional<Tcb> min_launch_tcb;  ///< of the platform when the guest was launched
    std::optional<FirmwareVersion> min_firmware;
    std::uint32_t min_guest_svn = 0;
    std::uint64_t platform_demanded = 0;  ///< bits of PLATFORM_INFO that must be set
    std::uint64_t platform_forbidden = 0;
    std::uint64_t mitigations_demanded = 0;  ///< in force at launch and now
    std::vector<Value> measurements;         ///< empty lists: any
    std::optional<Value> host_data;
    std::vector<Value> id_keys;  ///< digests
    std::vector<Value> author_keys;
    std::vector<Value> chips;  ///< CHIP_ID as the report has it
};

/// All that the policy refuses, in `findings`.
void appraise(const Authenticated<Endorsed>& report, const Policy& policy, Findings& findings);

}  // namespace holdfast::attest::snp
