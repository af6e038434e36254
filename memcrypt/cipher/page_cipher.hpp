// SPDX-License-Identifier: Apache-2.0
// Authenticated encryption of one page of guest RAM under the page's identity: what the pager calls.
// Versions, tags, key epochs and the choice of what is sealed are the pager's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "memcrypt/address.hpp"
#include "memcrypt/key.hpp"
#include "sys/result.hpp"

namespace holdfast::memcrypt {

enum class Suite : std::uint8_t { Aegis256x2 = 1, Aes256Gcm = 2 };
inline constexpr Suite kDefaultSuite = Suite::Aegis256x2;

/// "aegis-256x2", "aes-256-gcm"; and back. An unknown name is an Input error.
[[nodiscard]] std::string_view suite_name(Suite suite) noexcept;
Result<Suite> parse_suite(std::string_view name) noexcept;

/// How many pages may be sealed under one key, over all threads. The pager re-keys before.
[[nodiscard]] std::uint64_t pages_per_key(Suite suite) noexcept;

using Tag = std::array<std::byte, 16>;
using PageBytes = std::span<std::byte, kPageSize>;
using ConstPageBytes = std::span<const std::byte, kPageSize>;

/// What a sealed page is, and when: goes into nonce and associated data. The pager guarantees that under
/// one key no (page, version) is ever sealed twice, and that version 0 is never used: it means "never
/// sealed".
struct PageIdentity {
    std::uint32_t region = 0;
    std::uint32_t page = 0;  ///< index in the VM's whole RAM
    std::uint64_t version = 0;
};

/// One suite under one key for one VM. One per thread: not thread-safe. Key schedule and scratch space live
/// in locked memory that it owns, allocated by make_page_cipher; nothing below makes a system call.
class PageCipher {
public:
    PageCipher() = default;
    PageCipher(const PageCipher&) = delete;
    PageCipher& operator=(const PageCipher&) = delete;
    virtual ~PageCipher() = default;

    /// Replaces the key (and the schedule made of it) for the next epoch.
    virtual void set_key(const SecretKey& key) noexcept = 0;
    /// Encrypts `page` in place.
    virtual void seal(const PageIdentity& identity, PageBytes page, Tag& tag) noexcept = 0;
    /// Decrypts `sealed` into `plain`, which must not overlap it: another process may write to `sealed`
    /// meanwhile, so each of its bytes is read once. False: the tag is wrong, and `plain` is wiped.
    [[nodiscard]] virtual bool open(const PageIdentity& identity, ConstPageBytes sealed, PageBytes plain,
                                    const Tag& tag) noexcept = 0;
};

/// Allocates locked memory: before the guest runs, in the thread that sets the VM up. A processor without
/// what the suite needs is an Input error that names it.
Result<std::unique_ptr<PageCipher>> make_page_cipher(Suite suite, const SecretKey& key, const VmId& vm);

}  // namespace holdfast::memcrypt
