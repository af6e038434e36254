// SPDX-License-Identifier: Apache-2.0
// Which PCR values an event log explains, and whether they are those that somebody vouches for.
#pragma once

#include <optional>
#include <vector>

#include "attest/formats/eventlog/log.hpp"

namespace holdfast::attest::eventlog {

/// By register; none: the log extends nothing into it.
using Registers = std::vector<std::optional<Digest>>;

/// The registers after power-on and these events, in one bank. An event without a digest of the bank, or of a
/// register that there is not, is a Peer error.
[[nodiscard]] Result<Registers> replay(const Parsed<EventLog>& log, HashAlg bank);

/// Values that somebody vouches for, of one bank, by register; none: not vouched for.
struct Vouched {
    HashAlg bank = HashAlg::Sha256;
    Registers values;
};
/// The log explains each vouched register that it has events of, and leaves none of the first `all_of` (PCRs
/// 0-7) that were extended unexplained. Registers beyond may have been extended by software that keeps a log
/// of its own.
[[nodiscard]] std::optional<Bound<EventLog>> bind_log(const Parsed<EventLog>& log,
                                                      std::span<const Vouched> vouched, Findings& findings);

}  // namespace holdfast::attest::eventlog
