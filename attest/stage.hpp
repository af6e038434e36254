// SPDX-License-Identifier: Apache-2.0
// How far evidence has come: Parsed (well-formed), Authenticated (signed by a key that is trusted), Bound
// (tied to the nonce, or to something authenticated). Appraisal asks for one of the last two, so that a check
// which was forgotten is a type that is missing and not a verdict that is wrong.
#pragma once

#include <utility>

#include "attest/finding.hpp"

namespace holdfast::attest {

/// Who may say that a T has reached a stage. Specialised in the one source that does the checks of this
/// stage:
///     template <> struct Voucher<Quote, Stage::Authenticate> {
///         static Authenticated<Quote> grant(Quote quote) { return Authenticated<Quote>{std::move(quote)}; }
///     };
template <typename T, Stage Reached>
struct Voucher;

template <typename T, Stage Reached>
class Staged {
public:
    [[nodiscard]] const T& operator*() const noexcept { return value_; }
    [[nodiscard]] const T* operator->() const noexcept { return &value_; }

private:
    friend struct Voucher<T, Reached>;
    explicit Staged(T value) : value_{std::move(value)} {}
    T value_;
};

template <typename T>
using Parsed = Staged<T, Stage::Parse>;
template <typename T>
using Authenticated = Staged<T, Stage::Authenticate>;
template <typename T>
using Bound = Staged<T, Stage::Bind>;

}  // namespace holdfast::attest
