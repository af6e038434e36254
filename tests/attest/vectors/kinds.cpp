// SPDX-License-Identifier: Apache-2.0
#include "tests/attest/vectors/kinds.hpp"

#include <algorithm>
#include <array>

namespace holdfast::attest::vectors {

namespace {

constexpr std::array<Kind, 0> kKinds{};

}  // namespace

const Kind* find_kind(std::string_view name) {
    const auto* const row = std::ranges::find(kKinds, name, &Kind::name);
    return row == kKinds.end() ? nullptr : row;
}

}  // namespace holdfast::attest::vectors
