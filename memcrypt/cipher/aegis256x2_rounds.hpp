// SPDX-License-Identifier: Apache-2.0
// AEGIS-256X2 over a type of two AES blocks: draft-irtf-cfrg-aegis-aead-18, "The AEGIS-256X Algorithm".
// Included by the two sources that define that type, and by nobody else; see aegis256x2_kernel.hpp.
//
// `Block` is 32 bytes in registers. It has ^ and &, zero, load and store, twice (both halves from the same 16
// bytes), round (AESRound of each half), store_folded (its halves xored) and forget_registers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "memcrypt/cipher/aegis256x2_kernel.hpp"

namespace holdfast::memcrypt::aegis {
namespace {

/// C0 and C1 of the draft, and the contexts of the two halves: index, then degree of parallelism minus 1.
constexpr std::uint8_t kC0[16] = {0x00, 0x01, 0x01, 0x02, 0x03, 0x05, 0x08, 0x0d,
                                  0x15, 0x22, 0x37, 0x59, 0x90, 0xe9, 0x79, 0x62};
constexpr std::uint8_t kC1[16] = {0xdb, 0x3d, 0x18, 0x55, 0x6d, 0xc2, 0x2f, 0xf1,
                                  0x20, 0x11, 0x31, 0x42, 0x73, 0xb5, 0x28, 0xdd};
constexpr std::uint8_t kHalves[kBlock] = {0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                          1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

template <typename Block>
class State {
public:
    [[gnu::always_inline]] explicit State(const Parameters& parameters) noexcept {
        const Block k0 = Block::twice(parameters.key);
        const Block k1 = Block::twice(parameters.key + 16);
        const Block kn0 = k0 ^ Block::twice(parameters.nonce);
        const Block kn1 = k1 ^ Block::twice(parameters.nonce + 16);
        const Block c0 = Block::twice(kC0);
        const Block c1 = Block::twice(kC1);
        const Block halves = Block::load(kHalves);
        v0_ = kn0;
        v1_ = kn1;
        v2_ = c1;
        v3_ = c0;
        v4_ = k0 ^ c0;
        v5_ = k1 ^ c1;
        for (int i = 0; i < 4; ++i) {
            initialize(k0, halves);
            initialize(k1, halves);
            initialize(kn0, halves);
            initialize(kn1, halves);
        }
        for (std::size_t at = 0; at < parameters.context_size; at += kBlock)
            update(Block::load(parameters.context + at));
    }

    [[gnu::always_inline]] Block encrypt(const Block& plain) noexcept {
        const Block sealed = plain ^ key_stream();
        update(plain);
        return sealed;
    }
    [[gnu::always_inline]] Block decrypt(const Block& sealed) noexcept {
        const Block plain = sealed ^ key_stream();
        update(plain);
        return plain;
    }
    /// Writes the 16 bytes of the tag.
    [[gnu::always_inline]] void finalize(std::size_t context_size, std::size_t size,
                                         std::byte* tag) noexcept {
        const std::uint64_t bits[2] = {context_size * 8, size * 8};  // little-endian, as the processor is
        const Block lengths = v3_ ^ Block::twice(bits);
        for (int i = 0; i < 7; ++i) update(lengths);
        (v0_ ^ v1_ ^ v2_ ^ v3_ ^ v4_ ^ v5_).store_folded(tag);
    }

private:
    [[gnu::always_inline]] void initialize(const Block& input, const Block& halves) noexcept {
        v3_ = v3_ ^ halves;
        v5_ = v5_ ^ halves;
        update(input);
    }
    [[gnu::always_inline]] Block key_stream() const noexcept { return v1_ ^ v4_ ^ v5_ ^ (v2_ & v3_); }
    [[gnu::always_inline]] void update(const Block& input) noexcept {
        // The draft's AESRound(v5, v0 ^ input). The round key comes in by a final xor, so it can be taken out
        // of the instruction: then neither the input nor the old v0 waits for a round, and a step takes one.
        const Block first = Block::round(v5_, Block::zero()) ^ (v0_ ^ input);
        v5_ = Block::round(v4_, v5_);
        v4_ = Block::round(v3_, v4_);
        v3_ = Block::round(v2_, v3_);
        v2_ = Block::round(v1_, v2_);
        v1_ = Block::round(v0_, v1_);
        v0_ = first;
    }
    Block v0_, v1_, v2_, v3_, v4_, v5_;
};

template <typename Block>
void seal(const Parameters& parameters, std::byte* text, std::size_t size, std::byte* tag) noexcept {
    State<Block> state{parameters};
#pragma GCC unroll 4
    for (std::size_t at = 0; at < size; at += kBlock) state.encrypt(Block::load(text + at)).store(text + at);
    state.finalize(parameters.context_size, size, tag);
    Block::forget_registers();
}

template <typename Block>
void open(const Parameters& parameters, const std::byte* sealed, std::byte* plain, std::size_t size,
          std::byte* tag) noexcept {
    State<Block> state{parameters};
    for (std::size_t at = 0; at < size; at += kBlock)
        state.decrypt(Block::load(sealed + at)).store(plain + at);
    state.finalize(parameters.context_size, size, tag);
    Block::forget_registers();
}

}  // namespace
}  // namespace holdfast::memcrypt::aegis
