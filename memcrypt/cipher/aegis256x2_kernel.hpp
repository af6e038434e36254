// SPDX-License-Identifier: Apache-2.0
// AEGIS-256X2 (draft-irtf-cfrg-aegis-aead-18) with 128-bit tags, for whole blocks of 32 bytes, as this
// project's own intrinsics. Once for 256-bit VAES and once for AES-NI; which one runs is the caller's choice.
//
// The sources behind this header are compiled for more than the baseline processor. So what they share is
// free of inline functions with external linkage: the linker might keep their copy for everybody.
#pragma once

#include <cstddef>

namespace holdfast::memcrypt::aegis {

inline constexpr std::size_t kBlock = 32;

struct Parameters {
    const std::byte* key = nullptr;      ///< 32 bytes
    const std::byte* nonce = nullptr;    ///< 32 bytes
    const std::byte* context = nullptr;  ///< associated data, padded with zeros to whole blocks
    std::size_t context_size = 0;        ///< in bytes, without the padding
};

/// Neither call leaves anything of key or state in vector registers.
struct Kernel {
    /// Encrypts in place and makes the tag. `text` is padded with zeros to whole blocks, of which the
    /// ciphertext beyond `size` means nothing.
    void (*seal)(const Parameters& parameters, std::byte* text, std::size_t size, std::byte* tag) noexcept;
    /// Decrypts whole blocks and makes the tag that they should have; reads each byte of `sealed` once.
    /// The caller compares the tags, and shows nobody a wrong one or its plaintext.
    void (*open)(const Parameters& parameters, const std::byte* sealed, std::byte* plain, std::size_t size,
                 std::byte* tag) noexcept;
};

extern const Kernel kVaes;   ///< needs CpuFeatures::vaes_avx2
extern const Kernel kAesNi;  ///< needs CpuFeatures::aes

}  // namespace holdfast::memcrypt::aegis
