// SPDX-License-Identifier: Apache-2.0
#include "sys/signed.hpp"

#include <array>
#include <memory>
#include <string_view>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "sys/free_with.hpp"

namespace holdfast {
namespace {

// SAFETY: bytes as bytes; libcrypto calls them unsigned char.
const unsigned char* raw(std::span<const std::byte> bytes) noexcept {
    return reinterpret_cast<const unsigned char*>(bytes.data());
}

}  // namespace

bool is_p256(const evp_pkey_st* key) {
    std::array<char, 64> group{};
    return EVP_PKEY_is_a(key, "EC") == 1 &&
           EVP_PKEY_get_group_name(key, group.data(), group.size(), nullptr) == 1 &&
           std::string_view{group.data()} == "prime256v1";
}

bool is_ed25519(const evp_pkey_st* key) { return EVP_PKEY_is_a(key, "ED25519") == 1; }

bool is_signed_by(std::span<const std::byte> key, std::span<const std::byte> message,
                  std::span<const std::byte> signature) {
    using Key = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
    using Context = std::unique_ptr<EVP_MD_CTX, FreeWith<EVP_MD_CTX_free>>;
    const unsigned char* at = raw(key);
    const Key parsed{d2i_PUBKEY(nullptr, &at, static_cast<long>(key.size()))};
    if (!parsed || at != raw(key) + key.size()) return false;
    const bool pure = is_ed25519(parsed.get());  // it hashes by itself
    if (!pure && !is_p256(parsed.get())) return false;
    const Context context{EVP_MD_CTX_new()};
    return context &&
           EVP_DigestVerifyInit(context.get(), nullptr, pure ? nullptr : EVP_sha256(), nullptr,
                                parsed.get()) == 1 &&
           EVP_DigestVerify(context.get(), raw(signature), signature.size(), raw(message), message.size()) ==
               1;
}

}  // namespace holdfast
