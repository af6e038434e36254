// SPDX-License-Identifier: Apache-2.0
// What a verifier accepts of an authentic quote: of the TD, and, by Intel's collateral, of the platform below
// it. The default is strict about what every verifier wants, and silent about what only this one can know.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "attest/formats/tdx/authenticate.hpp"
#include "attest/formats/tdx/collateral.hpp"

namespace holdfast::attest::tdx {

struct Policy {
    using Value = std::vector<std::byte>;

    bool allow_debug = false;
    bool allow_sept_ve = false;
    bool allow_migratable = false;
    std::uint64_t attributes_forbidden = 0;
    std::optional<std::uint64_t> xfam_allowed;
    std::vector<Value> service_tds;  ///< hashes that MRSERVICETD may be, besides zero
    std::vector<Value> mrtds;        ///< empty lists: any
    std::array<std::optional<Value>, 4> rtmrs;
    std::optional<Value> mr_config_id;
    std::optional<Value> mr_owner;
    std::optional<Value> mr_owner_config;
    std::vector<Value> platforms;  ///< PPIDs
    std::vector<TcbStatus> tcb_allowed{TcbStatus::UpToDate};
    bool collateral_demanded = false;         ///< else a note says what is not known for want of it
    std::uint64_t min_evaluation_number = 0;  ///< the highest that was seen before
};

struct Collateral {
    std::optional<Authenticated<TcbInfo>> tcb_info;
    std::optional<Authenticated<QeIdentity>> qe_identity;
};

/// All that the policy refuses, in `findings`, at this time. What comes back is the status of the platform by
/// all of the collateral that there is; none: there is no TCB info for it, or no level.
std::optional<TcbStatus> appraise(const Authenticated<Certified>& quote, const Collateral& collateral,
                                  const Policy& policy, std::int64_t at, Findings& findings);

}  // namespace holdfast::attest::tdx
