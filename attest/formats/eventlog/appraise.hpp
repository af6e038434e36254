// SPDX-License-Identifier: Apache-2.0
// What a log says, held against what TCG PC Client Platform Firmware Profile 1.05 demands of its order and of
// its digests. PCR values cover digests and not types: each rule here is about a digest that cannot have come
// from another kind of event, or about an order that the PCR itself proves.
#pragma once

#include "attest/formats/eventlog/log.hpp"

namespace holdfast::attest::eventlog {

/// Rules for PCRs 0-7 of a TCG log. A log of a confidential VM has the same events in other registers; of it
/// the digests of data are judged.
void appraise_log(const Bound<EventLog>& log, Findings& findings);

}  // namespace holdfast::attest::eventlog
