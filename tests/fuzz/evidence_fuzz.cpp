// SPDX-License-Identifier: Apache-2.0
// Evidence of a VM, as anybody may send it: the file, and each part for itself.
#include <algorithm>

#include "attest/evidence/anchor.hpp"
#include "attest/evidence/evidence.hpp"
#include "attest/evidence/launch_statement.hpp"
#include "attest/verify/cpu.hpp"
#include "attest/verify/vtpm.hpp"

using namespace holdfast::attest;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span{data, size});
    // What is understood has one encoding only.
    if (const auto whole = decode_evidence(bytes)) {
        holdfast::check(std::ranges::equal(encode(*whole), bytes), "evidence with two encodings");
    }
    if (const auto launch = decode_launch_statement(bytes)) (void)encode(*launch);
    if (const auto host = decode_host(bytes)) (void)encode(*host);
    if (const auto vtpm = decode_vtpm(bytes)) {
        holdfast::check(std::ranges::equal(encode(*vtpm), bytes), "quote with two encodings");
        Findings of_vtpm;
        const LaunchStatement launch{.nonce = std::vector<std::byte>(16), .tier = "none"};
        (void)verify_vtpm({.part = &*vtpm, .launch = &launch, .at = 0, .last_seen = {}}, {}, of_vtpm);
    }
    if (const auto cpu = decode_cpu(bytes)) {
        holdfast::check(std::ranges::equal(encode(*cpu), bytes), "CPU's report with two encodings");
        // Nobody is trusted: what is inside has targets of its own.
        Findings of_cpu;
        const LaunchStatement launch{.nonce = std::vector<std::byte>(16), .tier = "none"};
        (void)verify_cpu({.part = &*cpu, .launch = &launch}, {}, of_cpu);
    }
    Findings findings;
    (void)verify_anchor({.bundle = bytes, .key = {}, .trust = {}}, {}, {}, findings);
    return 0;
}
