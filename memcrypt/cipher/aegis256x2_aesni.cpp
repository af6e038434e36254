// SPDX-License-Identifier: Apache-2.0
// AEGIS-256X2 with SSE4.1 and AES-NI, for which it is compiled: a block is two registers.
#include <immintrin.h>

#include "memcrypt/cipher/aegis256x2_rounds.hpp"

namespace holdfast::memcrypt::aegis {
namespace {

// SAFETY, of the casts: the __m128i_u type may alias any other.
struct Block {
    __m128i low, high;

    [[gnu::always_inline]] static Block zero() noexcept {
        Block block{_mm_setzero_si128(), _mm_setzero_si128()};
        asm("" : "+x"(block.low), "+x"(block.high));
        return block;
    }
    [[gnu::always_inline]] static Block load(const void* from) noexcept {
        const auto* const halves = static_cast<const __m128i_u*>(from);
        Block block{_mm_loadu_si128(halves), _mm_loadu_si128(halves + 1)};
        // SAFETY: empty, but makes the values opaque, so that the compiler cannot load them a second time:
        // another process may write to sealed pages meanwhile.
        asm("" : "+x"(block.low), "+x"(block.high));
        return block;
    }
    [[gnu::always_inline]] static Block twice(const void* from) noexcept {
        const __m128i half = _mm_loadu_si128(static_cast<const __m128i_u*>(from));
        return {half, half};
    }
    [[gnu::always_inline]] static Block round(const Block& in, const Block& key) noexcept {
        return {_mm_aesenc_si128(in.low, key.low), _mm_aesenc_si128(in.high, key.high)};
    }
    [[gnu::always_inline]] void store(std::byte* to) const noexcept {
        auto* const halves = reinterpret_cast<__m128i_u*>(to);
        _mm_storeu_si128(halves, low);
        _mm_storeu_si128(halves + 1, high);
    }
    [[gnu::always_inline]] void store_folded(std::byte* to) const noexcept {
        _mm_storeu_si128(reinterpret_cast<__m128i_u*>(to), _mm_xor_si128(low, high));
    }
    [[gnu::always_inline]] friend Block operator^(const Block& a, const Block& b) noexcept {
        return {_mm_xor_si128(a.low, b.low), _mm_xor_si128(a.high, b.high)};
    }
    [[gnu::always_inline]] friend Block operator&(const Block& a, const Block& b) noexcept {
        return {_mm_and_si128(a.low, b.low), _mm_and_si128(a.high, b.high)};
    }
    [[gnu::always_inline]] static void forget_registers() noexcept {
        // SAFETY: clears exactly the registers that it names. Nothing here used the halves that AVX adds.
        asm volatile(
            "pxor %%xmm0, %%xmm0\n\tpxor %%xmm1, %%xmm1\n\tpxor %%xmm2, %%xmm2\n\tpxor %%xmm3, %%xmm3\n\t"
            "pxor %%xmm4, %%xmm4\n\tpxor %%xmm5, %%xmm5\n\tpxor %%xmm6, %%xmm6\n\tpxor %%xmm7, %%xmm7\n\t"
            "pxor %%xmm8, %%xmm8\n\tpxor %%xmm9, %%xmm9\n\tpxor %%xmm10, %%xmm10\n\tpxor %%xmm11, %%xmm11\n\t"
            "pxor %%xmm12, %%xmm12\n\tpxor %%xmm13, %%xmm13\n\tpxor %%xmm14, %%xmm14\n\tpxor %%xmm15, "
            "%%xmm15" ::
                : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                  "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "memory");
    }
};

}  // namespace

const Kernel kAesNi = {.seal = seal<Block>, .open = open<Block>};

}  // namespace holdfast::memcrypt::aegis
