// SPDX-License-Identifier: Apache-2.0
// Keys of guest memory and the identity they are bound to. A key is random, lives as long as its
// VM's process at most, and is never stored: there is nothing to derive it from.
#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "sys/result.hpp"
#include "sys/secret.hpp"

namespace holdfast::memcrypt {

inline constexpr std::size_t kKeyBytes = 32;

/// Names one boot of one VM. Not secret; bound into every sealed page.
using VmId = std::array<std::byte, 16>;

/// A 256-bit key in locked memory. Not copyable, not printable, wiped on destruction.
class SecretKey {
public:
    /// Fresh from the kernel's random numbers. Allocates locked memory: before the guest runs.
    static Result<SecretKey> random();

    /// Overwrites the key with a fresh one, for the next epoch. Allocates nothing and calls only
    /// getrandom, so it works under the running VM's jail. Keys of different epochs are unrelated.
    Result<void> renew() noexcept;
    [[nodiscard]] std::span<const std::byte, kKeyBytes> bytes() const noexcept { return *key_; }

private:
    using Bytes = std::array<std::byte, kKeyBytes>;
    explicit SecretKey(Secret<Bytes> key) noexcept : key_{std::move(key)} {}
    Secret<Bytes> key_;
};

}  // namespace holdfast::memcrypt
