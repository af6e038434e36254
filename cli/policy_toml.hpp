// SPDX-License-Identifier: Apache-2.0
// A policy as a person writes it: TOML 1.0, described in docs/attestation.md. Every table and key may be
// missing; what is not known is an error, because a key that is spelled wrong must not be a check that is
// left out.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "attest/policy/policy.hpp"

namespace holdfast::cli {

struct PolicyError {
    unsigned line = 0;
    std::string what;
};

[[nodiscard]] std::expected<attest::Policy, PolicyError> parse_policy(std::string_view toml);

}  // namespace holdfast::cli
