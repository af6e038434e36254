// SPDX-License-Identifier: Apache-2.0
// An event log of anybody: read, replayed, and, where it is one that we could have written, written again.
#include "vtpm/eventlog/event_log.hpp"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto events = eventlog::decode(std::as_bytes(std::span{data, size}));
    if (!events) return 0;
    for (const tpm2::Alg bank : eventlog::kBanks) {
        [[maybe_unused]] const auto pcrs = eventlog::replay(*events, bank);
    }
    [[maybe_unused]] const auto again = eventlog::decode(eventlog::encode(*events));
    return 0;
}
