// SPDX-License-Identifier: Apache-2.0
// The implementations behind make_page_cipher, each by name: for it, for tests and for benchmarks.
#pragma once

#include <cstdint>
#include <memory>

#include "memcrypt/cipher/cpu.hpp"
#include "memcrypt/cipher/page_cipher.hpp"

namespace holdfast::memcrypt {

/// Which instructions a suite is implemented with. Narrow is what every processor with AES-NI runs.
enum class Width : std::uint8_t { Narrow, Wide };

/// What `cpu` runs of a suite, the fastest; or what it lacks, as an Input error.
Result<Width> best_width(Suite suite, const CpuFeatures& cpu) noexcept;

/// The processor must be able to run `width`.
Result<std::unique_ptr<PageCipher>> make_aegis256x2(Width width, const SecretKey& key, const VmId& vm);
Result<std::unique_ptr<PageCipher>> make_aes256gcm(Width width, const SecretKey& key, const VmId& vm);

}  // namespace holdfast::memcrypt
