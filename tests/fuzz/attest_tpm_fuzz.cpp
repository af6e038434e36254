// SPDX-License-Identifier: Apache-2.0
// What a TPM is said to have stated, signed, and to be: each parser of TPM structures takes the bytes for its
// own.
#include "attest/formats/tpm/attestation_key.hpp"
#include "attest/formats/tpm/nv.hpp"
#include "attest/formats/tpm/statement.hpp"

using namespace holdfast::attest;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span{data, size});
    [[maybe_unused]] const auto attest = tpm::parse_attest(bytes);
    [[maybe_unused]] const auto signature = tpm::parse_signature(bytes);
    [[maybe_unused]] const auto key = tpm::parse_attestation_key(bytes);
    [[maybe_unused]] const auto index = tpm::parse_nv_public(bytes);
    return 0;
}
