// SPDX-License-Identifier: Apache-2.0
// An event log of anybody, as one of a TPM and as one of a confidential VM: parsed, replayed, held against
// its own replay and appraised.
#include "attest/formats/eventlog/appraise.hpp"
#include "attest/formats/eventlog/replay.hpp"

using namespace holdfast::attest;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    for (const auto kind : {eventlog::Kind::Tcg, eventlog::Kind::Cc}) {
        const auto log = eventlog::parse_log(std::as_bytes(std::span{data, size}), kind);
        if (!log) continue;
        for (const HashAlg bank : kHashAlgs) {
            auto replayed = eventlog::replay(*log, bank);
            if (!replayed) continue;
            const eventlog::Vouched own{.bank = bank, .values = std::move(*replayed)};
            Findings findings;
            const auto bound = eventlog::bind_log(*log, std::span{&own, 1}, findings);
            if (bound) eventlog::appraise_log(*bound, findings);
        }
    }
    return 0;
}
