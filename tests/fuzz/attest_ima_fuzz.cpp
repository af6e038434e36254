// SPDX-License-Identifier: Apache-2.0
// An IMA list of anybody, in either form: parsed, replayed, held against its own replay and appraised.
#include "attest/formats/ima/list.hpp"

using namespace holdfast::attest;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Findings findings;
    const auto list = ima::parse_list(std::as_bytes(std::span{data, size}), findings);
    if (!list) return 0;
    const Digest pcr10 = ima::replay(*list, HashAlg::Sha256);
    if (const auto covered = ima::bind_list(*list, pcr10, findings))
        ima::appraise_list(*covered, {}, findings);
    return 0;
}
