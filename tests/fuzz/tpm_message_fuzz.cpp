// SPDX-License-Identifier: Apache-2.0
// Responses of a vTPM that has been taken over, and commands of a guest, as far as we parse them.
#include "vtpm/tpm2/command.hpp"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto message = std::as_bytes(std::span{data, size});
    [[maybe_unused]] const auto header = tpm2::parse_header(message);
    const auto response = tpm2::parse_response(message);
    if (!response) return 0;
    [[maybe_unused]] const auto banks = tpm2::parse_pcr_banks(response->body);
    [[maybe_unused]] const auto values = tpm2::parse_pcr_read(response->body);
    [[maybe_unused]] const auto allocated = tpm2::parse_pcr_allocate(*response);
    return 0;
}
