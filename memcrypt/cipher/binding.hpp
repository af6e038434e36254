// SPDX-License-Identifier: Apache-2.0
// How a page's identity goes into a suite's nonce and associated data: the format of sealed pages.
// Ours; a change of it is a new kFormat.
#pragma once

#include <cstdint>
#include <type_traits>

#include "memcrypt/cipher/page_cipher.hpp"
#include "sys/wire/endian.hpp"

namespace holdfast::memcrypt::binding {

inline constexpr std::uint32_t kFormat = 1;

/// Associated data, the same for each suite.
struct Context {
    Le<std::uint32_t> format;   //  0
    Le<std::uint32_t> suite;    //  4
    Le<std::uint32_t> region;   //  8
    Le<std::uint32_t> page;     // 12
    Le<std::uint64_t> version;  // 16
    VmId vm;                    // 24
};
static_assert(sizeof(Context) == 40 && alignof(Context) == 1 && std::is_trivially_copyable_v<Context>);

/// 96 bits, unique under one key as PageIdentity is (NIST SP 800-38D §8.2.1, deterministic construction).
struct GcmNonce {
    Le<std::uint32_t> page;     // 0
    Le<std::uint64_t> version;  // 4
};
static_assert(sizeof(GcmNonce) == 12 && alignof(GcmNonce) == 1);

/// 256 bits: room for all of the identity.
struct AegisNonce {
    VmId vm;                    //  0
    Le<std::uint32_t> region;   // 16
    Le<std::uint32_t> page;     // 20
    Le<std::uint64_t> version;  // 24
};
static_assert(sizeof(AegisNonce) == 32 && alignof(AegisNonce) == 1);

inline Context context(Suite suite, const VmId& vm, const PageIdentity& identity) noexcept {
    return {.format = kFormat,
            .suite = static_cast<std::uint32_t>(suite),
            .region = identity.region,
            .page = identity.page,
            .version = identity.version,
            .vm = vm};
}

}  // namespace holdfast::memcrypt::binding
