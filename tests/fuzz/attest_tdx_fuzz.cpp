// SPDX-License-Identifier: Apache-2.0
// A quote of anybody, up to its signatures.
#include "attest/formats/tdx/authenticate.hpp"

using namespace holdfast::attest;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span{data, size});
    const auto quote = tdx::parse_quote(bytes);
    if (quote) [[maybe_unused]]
        const auto pck = tdx::claimed_pck(**quote);
    return 0;
}
