// SPDX-License-Identifier: Apache-2.0
#include "memcrypt/key.hpp"

#include <sys/random.h>

namespace holdfast::memcrypt {

Result<SecretKey> SecretKey::random() {
    SecretKey key{HF_TRY(Secret<Bytes>::create())};
    HF_TRY(key.renew());
    return key;
}

Result<void> SecretKey::renew() noexcept {
    // Up to 256 bytes come whole or not at all (getrandom(2)).
    if (::getrandom(key_->data(), key_->size(), 0) < 0) return os_error("getrandom");
    return {};
}

}  // namespace holdfast::memcrypt
