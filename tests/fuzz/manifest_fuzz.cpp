// SPDX-License-Identifier: Apache-2.0
// Manifests of bundles, as somebody with a trusted key may have signed them.
#include "attest/bundle/manifest.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span{data, size});
    [[maybe_unused]] const auto parsed = holdfast::attest::parse_manifest(bytes);
    return 0;
}
