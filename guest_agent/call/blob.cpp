// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/call/blob.hpp"

#include <algorithm>
#include <cstring>

#include "guest_agent/crypto/aead.hpp"
#include "guest_agent/crypto/kdf.hpp"
#include "sys/wire/endian.hpp"

namespace holdfast::agent::call {
namespace {

struct Head {
    std::array<char, 4> magic;
    Le<std::uint32_t> format;
    Le<std::uint64_t> version;
    Nonce nonce;
};
static_assert(sizeof(Head) == 28 && alignof(Head) == 1);
constexpr std::array<char, 4> kMagic{'H', 'F', 'B', 'L'};
constexpr std::uint32_t kFormat = 1;

// A key a name: then random nonces meet a key only as often as that blob is written.
Result<Aead> cipher_of(const Key& key, std::string_view name) {
    return Aead::create(hkdf_expand_key(key, {text("holdfast blob 1"), text(name)}));
}

Bytes bytes_of(const Head& head) { return std::as_bytes(std::span{&head, 1}); }

}  // namespace

Result<std::vector<std::byte>> seal_blob(const Key& key, std::string_view name, std::uint64_t version,
                                         Bytes plain) {
    if (name.empty() || name.size() > kMaxBlobName) return input_error("a blob's name is empty or too long");
    if (plain.size() > kMaxBlob) return input_error("a blob is too long");
    Head head{.magic = kMagic, .format = kFormat, .version = version, .nonce = {}};
    fill_random(head.nonce);
    std::vector<std::byte> sealed(sizeof head + plain.size() + kTagBytes);
    std::ranges::copy(bytes_of(head), sealed.begin());
    Aead aead = HF_TRY(cipher_of(key, name));
    HF_TRY(aead.seal(head.nonce, bytes_of(head), plain, std::span{sealed}.subspan(sizeof head)));
    return sealed;
}

Result<Blob> open_blob(const Key& key, std::string_view name, std::uint64_t oldest, Bytes sealed) {
    if (sealed.size() < sizeof(Head) + kTagBytes) return peer_fault("a blob is too short");
    Head head{};
    std::memcpy(&head, sealed.data(), sizeof head);
    if (head.magic != kMagic || head.format.get() != kFormat) return peer_fault("not a blob");
    Blob blob{.version = head.version.get(), .plain = SecretBuffer{sealed.size() - sizeof head - kTagBytes}};
    Aead aead = HF_TRY(cipher_of(key, name));
    HF_TRY(aead.open(head.nonce, bytes_of(head), sealed.subspan(sizeof head), blob.plain.bytes()));
    if (blob.version < oldest) return peer_fault("a blob is older than the newest that is known: a rollback");
    return blob;
}

}  // namespace holdfast::agent::call
