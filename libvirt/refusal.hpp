// SPDX-License-Identifier: Apache-2.0
// Why a command line is not carried out: the words that libvirt shows to whoever asked for the domain.
#pragma once

#include <expected>
#include <string>

#include "sys/result.hpp"

namespace holdfast::libvirt {

struct Refusal {
    std::string what;
    std::string fix;
};

/// A value, or why there is none. HF_TRY works with it.
template <typename T>
class [[nodiscard]] Verdict : public std::expected<T, Refusal> {
public:
    using std::expected<T, Refusal>::expected;
    Verdict()
        requires std::is_void_v<T>
    = default;
    // NOLINTNEXTLINE(google-explicit-constructor): `return refusal;` is the point, as with Result.
    Verdict(Refusal refusal) : std::expected<T, Refusal>{std::unexpect, std::move(refusal)} {}
};

}  // namespace holdfast::libvirt
