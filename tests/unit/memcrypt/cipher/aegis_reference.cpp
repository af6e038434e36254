// SPDX-License-Identifier: Apache-2.0
#include "aegis_reference.hpp"

#include <algorithm>
#include <bit>

namespace holdfast::memcrypt::reference {
namespace {

constexpr Block kC0{0x00, 0x01, 0x01, 0x02, 0x03, 0x05, 0x08, 0x0d,
                    0x15, 0x22, 0x37, 0x59, 0x90, 0xe9, 0x79, 0x62};
constexpr Block kC1{0xdb, 0x3d, 0x18, 0x55, 0x6d, 0xc2, 0x2f, 0xf1,
                    0x20, 0x11, 0x31, 0x42, 0x73, 0xb5, 0x28, 0xdd};

Block operator^(Block a, const Block& b) {
    for (std::size_t i = 0; i < a.size(); ++i) a[i] ^= b[i];
    return a;
}
Block operator&(Block a, const Block& b) {
    for (std::size_t i = 0; i < a.size(); ++i) a[i] &= b[i];
    return a;
}
Block take(std::span<const std::uint8_t> from, std::size_t at) {
    Block block{};
    for (std::size_t i = 0; i < block.size() && at + i < from.size(); ++i) block[i] = from[at + i];
    return block;
}

/// Multiplication in AES's field.
std::uint8_t times(unsigned a, unsigned b) {
    unsigned product = 0;
    for (; b != 0; b >>= 1U) {
        if ((b & 1U) != 0) product ^= a;
        a = a << 1U ^ ((a & 0x80U) != 0 ? 0x11bU : 0U);
    }
    return static_cast<std::uint8_t>(product);
}
std::uint8_t substitute(std::uint8_t value) {
    std::uint8_t inverse = 0;
    for (unsigned candidate = 1; candidate < 256 && value != 0; ++candidate)
        if (times(value, candidate) == 1) inverse = static_cast<std::uint8_t>(candidate);
    return static_cast<std::uint8_t>(inverse ^ std::rotl(inverse, 1) ^ std::rotl(inverse, 2) ^
                                     std::rotl(inverse, 3) ^ std::rotl(inverse, 4) ^ 0x63);
}
std::array<std::uint8_t, 256> make_box() {
    std::array<std::uint8_t, 256> box{};
    for (unsigned value = 0; value < 256; ++value) box[value] = substitute(static_cast<std::uint8_t>(value));
    return box;
}

void update(State& v, const std::array<Block, 2>& input) {
    const State old = v;
    for (std::size_t lane = 0; lane < 2; ++lane) {
        v[0][lane] = aes_round(old[5][lane], old[0][lane] ^ input[lane]);
        for (std::size_t i = 1; i < 6; ++i) v[i][lane] = aes_round(old[i - 1][lane], old[i][lane]);
    }
}

}  // namespace

Block aes_round(const Block& in, const Block& key) {
    static const auto box = make_box();
    Block out{};
    for (std::size_t column = 0; column < 4; ++column) {
        std::array<std::uint8_t, 4> s{};
        for (std::size_t row = 0; row < 4; ++row) s[row] = box[in[4 * ((column + row) % 4) + row]];
        for (std::size_t row = 0; row < 4; ++row)
            out[4 * column + row] = static_cast<std::uint8_t>(times(s[row], 2) ^ times(s[(row + 1) % 4], 3) ^
                                                              s[(row + 2) % 4] ^ s[(row + 3) % 4]);
    }
    return out ^ key;
}

State initial_state(std::span<const std::uint8_t> key, std::span<const std::uint8_t> nonce) {
    const Block k0 = take(key, 0);
    const Block k1 = take(key, 16);
    const Block n0 = take(nonce, 0);
    const Block n1 = take(nonce, 16);
    State v{};
    for (std::size_t lane = 0; lane < 2; ++lane) {
        v[0][lane] = k0 ^ n0;
        v[1][lane] = k1 ^ n1;
        v[2][lane] = kC1;
        v[3][lane] = kC0;
        v[4][lane] = k0 ^ kC0;
        v[5][lane] = k1 ^ kC1;
    }
    for (int i = 0; i < 4; ++i) {
        for (const Block& input : {k0, k1, k0 ^ n0, k1 ^ n1}) {
            for (std::uint8_t lane = 0; lane < 2; ++lane) {
                const Block context{lane, 1};
                v[3][lane] = v[3][lane] ^ context;
                v[5][lane] = v[5][lane] ^ context;
            }
            update(v, {input, input});
        }
    }
    return v;
}

Sealed encrypt(std::span<const std::uint8_t> key, std::span<const std::uint8_t> nonce,
               std::span<const std::uint8_t> context, std::span<const std::uint8_t> message) {
    State v = initial_state(key, nonce);
    for (std::size_t at = 0; at < context.size(); at += 32)
        update(v, {take(context, at), take(context, at + 16)});
    Sealed sealed;
    for (std::size_t at = 0; at < message.size(); at += 32) {
        std::array<Block, 2> input{};
        for (std::size_t lane = 0; lane < 2; ++lane) {
            input[lane] = take(message, at + 16 * lane);
            const Block out = input[lane] ^ v[1][lane] ^ v[4][lane] ^ v[5][lane] ^ (v[2][lane] & v[3][lane]);
            sealed.text.insert(sealed.text.end(), out.begin(), out.end());
        }
        update(v, input);
    }
    sealed.text.resize(message.size());
    Block lengths{};
    for (std::size_t i = 0; i < 8; ++i) {
        lengths[i] = static_cast<std::uint8_t>(context.size() * 8 >> 8 * i);
        lengths[8 + i] = static_cast<std::uint8_t>(message.size() * 8 >> 8 * i);
    }
    const std::array<Block, 2> last{v[3][0] ^ lengths, v[3][1] ^ lengths};
    for (int i = 0; i < 7; ++i) update(v, last);
    sealed.tag = {};
    for (const auto& row : v) sealed.tag = sealed.tag ^ row[0] ^ row[1];
    return sealed;
}

}  // namespace holdfast::memcrypt::reference
