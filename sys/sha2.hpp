// SPDX-License-Identifier: Apache-2.0
// SHA-256 and SHA-384 (FIPS 180-4), by libcrypto's block functions. Not by its EVP interface: that links
// the whole provider machinery, and a static program then starts milliseconds later (docs/measurements.md).
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>

#include <openssl/sha.h>

namespace holdfast {

using Digest256 = std::array<std::byte, 32>;
using Digest384 = std::array<std::byte, 48>;

/// One hash of bytes that come in pieces. finish() is the last call.
class Sha256 {
public:
    Sha256() noexcept;
    void update(std::span<const std::byte> bytes) noexcept;
    [[nodiscard]] Digest256 finish() noexcept;

private:
    SHA256_CTX state_;
};

class Sha384 {
public:
    Sha384() noexcept;
    void update(std::span<const std::byte> bytes) noexcept;
    [[nodiscard]] Digest384 finish() noexcept;

private:
    SHA512_CTX state_;
};

[[nodiscard]] Digest384 sha384(std::span<const std::byte> bytes) noexcept;

/// Lower-case hexadecimal digits.
[[nodiscard]] std::string hex(std::span<const std::byte> bytes);

}  // namespace holdfast
