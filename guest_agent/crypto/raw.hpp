// SPDX-License-Identifier: Apache-2.0
// Bytes as OpenSSL's C interface wants them.
#pragma once

#include "guest_agent/crypto/key.hpp"

namespace holdfast::agent {

// SAFETY (both): unsigned char may alias anything.
inline const unsigned char* raw(Bytes bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }
inline unsigned char* room(std::span<std::byte> bytes) {
    return reinterpret_cast<unsigned char*>(bytes.data());
}
/// The caller has bounded the size.
inline int int_size(Bytes bytes) { return static_cast<int>(bytes.size()); }

}  // namespace holdfast::agent
