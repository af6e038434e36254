// SPDX-License-Identifier: Apache-2.0
// What a measurement cannot go on without.
#pragma once

#include <type_traits>
#include <utility>

#include "sys/result.hpp"

namespace holdfast {

template <typename T>
T must(Result<T> result) {
    check(result.has_value(), result ? "" : result.error().what);
    if constexpr (!std::is_void_v<T>) return std::move(*result);
}

}  // namespace holdfast
