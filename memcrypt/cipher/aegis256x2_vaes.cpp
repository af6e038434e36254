// SPDX-License-Identifier: Apache-2.0
// AEGIS-256X2 with AVX2 and 256-bit VAES, for which it is compiled: a block is one register.
#include <immintrin.h>

#include "memcrypt/cipher/aegis256x2_rounds.hpp"

namespace holdfast::memcrypt::aegis {
namespace {

// SAFETY, of the casts: the __m256i_u types may alias any other.
struct Block {
    __m256i value;

    [[gnu::always_inline]] static Block zero() noexcept {
        Block block{_mm256_setzero_si256()};
        asm("" : "+x"(block.value));
        return block;
    }
    [[gnu::always_inline]] static Block load(const void* from) noexcept {
        Block block{_mm256_loadu_si256(static_cast<const __m256i_u*>(from))};
        // SAFETY: empty, but makes the value opaque, so that the compiler cannot load it a second time:
        // another process may write to sealed pages meanwhile.
        asm("" : "+x"(block.value));
        return block;
    }
    [[gnu::always_inline]] static Block twice(const void* from) noexcept {
        return {_mm256_broadcastsi128_si256(_mm_loadu_si128(static_cast<const __m128i_u*>(from)))};
    }
    [[gnu::always_inline]] static Block round(const Block& in, const Block& key) noexcept {
        return {_mm256_aesenc_epi128(in.value, key.value)};
    }
    [[gnu::always_inline]] void store(std::byte* to) const noexcept {
        _mm256_storeu_si256(reinterpret_cast<__m256i_u*>(to), value);
    }
    [[gnu::always_inline]] void store_folded(std::byte* to) const noexcept {
        _mm_storeu_si128(reinterpret_cast<__m128i_u*>(to),
                         _mm_xor_si128(_mm256_castsi256_si128(value), _mm256_extracti128_si256(value, 1)));
    }
    [[gnu::always_inline]] friend Block operator^(const Block& a, const Block& b) noexcept {
        return {_mm256_xor_si256(a.value, b.value)};
    }
    [[gnu::always_inline]] friend Block operator&(const Block& a, const Block& b) noexcept {
        return {_mm256_and_si256(a.value, b.value)};
    }
    [[gnu::always_inline]] static void forget_registers() noexcept {
        // SAFETY: clears exactly the registers that it names.
        asm volatile("vzeroall" ::
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                           "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "memory");
    }
};

}  // namespace

const Kernel kVaes = {.seal = seal<Block>, .open = open<Block>};

}  // namespace holdfast::memcrypt::aegis
