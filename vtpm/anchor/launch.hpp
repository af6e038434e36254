// SPDX-License-Identifier: Apache-2.0
// What the command line hands to holdfast-anchor, and what it reports: messages on the handover socket
// (SEQPACKET, descriptor 3).
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "sys/fd.hpp"
#include "vtpm/anchor/refusal.hpp"

namespace holdfast::anchor {

enum class Mode : std::uint8_t {
    Init = 1,  ///< makes counters, keys and the first record, and ends
    Serve,     ///< until the launcher closes its end
};

struct LaunchConfig {
    UniqueFd tpm;  ///< /dev/tpmrm0, or a stream socket to a software TPM
    UniqueFd keys;
    UniqueFd log0;
    UniqueFd log1;
    UniqueFd listener;  ///< SEQPACKET, where clients connect; Serve alone
    Mode mode = Mode::Serve;
    bool adopt_checkpoints = false;
    bool software_tpm = false;
    std::uint32_t pcrs = 0;             ///< Init: what the keys are sealed under (SHA-256 bank)
    std::vector<std::byte> update_key;  ///< Init: who may approve other PCRs, in DER; may be empty
    std::vector<std::byte> approval;  ///< Serve: that key's signature of the PCR policy, in DER; may be empty
    std::uint64_t daily_budget = 0;   ///< flash writes; 0: without a limit
    std::uint64_t stores_a_second = 0;  ///< of one vTPM; 0: without a limit
};

Result<void> send_launch(const UniqueFd& socket, const LaunchConfig& config);
Result<LaunchConfig> receive_launch(const UniqueFd& socket);

struct Ready {
    std::uint64_t o = 0;
    std::uint64_t s = 0;
    bool adopted = false;
};
struct RefusedReport {
    Refused state = Refused::TpmUnreachable;
    std::string detail;  ///< one line for people
};
using Report = std::variant<Ready, RefusedReport>;
Result<void> send_report(const UniqueFd& socket, const Report& report);
/// None: holdfast-anchor is gone without a word.
Result<std::optional<Report>> receive_report(const UniqueFd& socket);

}  // namespace holdfast::anchor
