// SPDX-License-Identifier: Apache-2.0
// A policy of anybody: what is no policy is an error with a line.
#include <string_view>

#include "cli/policy_toml.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    // SAFETY: bytes as characters.
    const std::string_view text{size == 0 ? "" : reinterpret_cast<const char*>(data), size};
    [[maybe_unused]] const auto policy = holdfast::cli::parse_policy(text);
    return 0;
}
