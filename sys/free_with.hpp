// SPDX-License-Identifier: Apache-2.0
// Ownership of what C libraries allocate.
#pragma once

namespace holdfast {

/// A deleter for std::unique_ptr that calls this function of a C library: `FreeWith<EVP_PKEY_free>`.
template <auto Function>
struct FreeWith {
    template <typename T>
    void operator()(T* object) const noexcept {
        Function(object);
    }
};

}  // namespace holdfast
