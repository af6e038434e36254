// SPDX-License-Identifier: Apache-2.0
// OpenSSL 3 calls EVP_CIPHER_meth_dup deprecated; gcm() says why it is used.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "vtpm/state/seal.hpp"

#include <array>
#include <cstring>
#include <memory>
#include <string_view>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "sys/free_with.hpp"
#include "sys/hmac.hpp"
#include "sys/wire/codec.hpp"
#include "sys/wire/endian.hpp"

namespace holdfast::vtpm {
namespace {

constexpr std::size_t kNonceBytes = 12;
constexpr std::size_t kTagBytes = 16;
constexpr std::array<char, 4> kMagic{'H', 'F', 'S', 'B'};
constexpr std::uint8_t kFormat = 1;

struct Head {
    std::array<char, 4> magic;
    Le<std::uint8_t> format;
    Le<std::uint8_t> type;
    Le<std::uint16_t> zero;
    Le<std::uint64_t> version;
    std::array<std::byte, kNonceBytes> nonce;  // random: 2^32 blobs of a key are far beyond its limit of use
};
static_assert(sizeof(Head) == 28 && alignof(Head) == 1);
constexpr std::size_t kOverhead = sizeof(Head) + kTagBytes;

/// AES-256-GCM without the search for it: the first cipher that EVP is asked for by name makes it build all
/// those of its default provider, which took a vTPM longer than all else at its start (docs/measurements.md).
/// A copy of the description is taken as it is: the same code for the same processor.
const EVP_CIPHER* gcm() {
    static const std::unique_ptr<EVP_CIPHER, FreeWith<EVP_CIPHER_meth_free>> cipher{
        EVP_CIPHER_meth_dup(EVP_aes_256_gcm())};
    return cipher.get();
}

using Cipher = std::unique_ptr<EVP_CIPHER_CTX, FreeWith<EVP_CIPHER_CTX_free>>;

// SAFETY (both): bytes as unsigned char, for a C interface.
const unsigned char* in(std::span<const std::byte> bytes) {
    return reinterpret_cast<const unsigned char*>(bytes.data());
}
unsigned char* out(std::span<std::byte> bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }

/// HKDF-SHA256 (RFC 5869). An empty salt is as good as the zeros that the RFC asks for.
void hkdf(const SecretBytes& secret, std::span<const std::byte> salt, std::span<const std::byte> info,
          SecretBytes& key) {
    check(key.bytes().size() == kStateKeyBytes, "the size of a state's key");
    HmacSha256 extract{salt};
    extract.update(secret.bytes());
    Digest256 pseudo_random = extract.finish();
    hkdf_expand(pseudo_random, {info}, key.bytes());
    wipe(pseudo_random);
}

constexpr const char* kForeign = "the state is not this vTPM's, was changed, or its key is another";

}  // namespace

Result<SecretBytes> derive_state_key(const SecretBytes& host_key, const Identity& identity) {
    WireWriter info;
    info.put_string("holdfast vtpm state 1");
    info.put_bytes(identity.id);
    info.put_string(identity.name);
    SecretBytes key = HF_TRY(SecretBytes::create(kStateKeyBytes));
    hkdf(host_key, {}, info.bytes(), key);
    return key;
}

Result<std::array<std::byte, 32>> digest_of(std::span<const std::byte> sealed) {
    std::array<std::byte, 32> digest{};
    if (EVP_Digest(sealed.data(), sealed.size(), out(digest), nullptr, EVP_sha256(), nullptr) != 1) {
        return Error{Fault::Os, 0, "hash a sealed state"};
    }
    return digest;
}

Result<Sealer> Sealer::anchored(std::span<const std::byte> anchor_key, SecretBytes room) const {
    WireWriter info;
    info.put_string("holdfast vtpm state, anchored 1");
    hkdf(key_, anchor_key, info.bytes(), room);
    return Sealer{std::move(room), identity_};
}

std::vector<std::byte> Sealer::associated(std::span<const std::byte> head) const {
    WireWriter writer;
    writer.put_bytes(identity_.id);
    writer.put_string(identity_.name);
    writer.put_bytes(head);
    const auto bytes = writer.bytes();
    return {bytes.begin(), bytes.end()};
}

Result<std::vector<std::byte>> Sealer::seal(SealedType type, std::uint64_t version,
                                            std::span<const std::byte> plain) const {
    if (plain.size() > kMaxSealed - kOverhead) return input_error("the state is too large to be sealed");
    Head head{.magic = kMagic,
              .format = kFormat,
              .type = static_cast<std::uint8_t>(type),
              .zero = std::uint16_t{0},
              .version = version,
              .nonce = {}};
    if (RAND_bytes(out(head.nonce), kNonceBytes) != 1) return Error{Fault::Os, 0, "draw a nonce"};

    std::vector<std::byte> sealed(kOverhead + plain.size());
    std::memcpy(sealed.data(), &head, sizeof head);
    const auto body = std::span{sealed}.subspan(sizeof head, plain.size());
    const auto tag = std::span{sealed}.last(kTagBytes);
    const auto aad = associated(std::as_bytes(std::span{&head, 1}));

    const Cipher cipher{EVP_CIPHER_CTX_new()};
    int length = 0;
    const bool done =
        cipher && gcm() != nullptr &&
        EVP_EncryptInit_ex(cipher.get(), gcm(), nullptr, in(key_.bytes()), in(head.nonce)) == 1 &&
        EVP_EncryptUpdate(cipher.get(), nullptr, &length, in(aad), static_cast<int>(aad.size())) == 1 &&
        EVP_EncryptUpdate(cipher.get(), out(body), &length, in(plain), static_cast<int>(plain.size())) == 1 &&
        EVP_EncryptFinal_ex(cipher.get(), out(tag), &length) == 1 &&
        EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes, tag.data()) == 1;
    if (!done) return Error{Fault::Os, 0, "seal the state"};
    return sealed;
}

Result<Sealer::Opened> Sealer::open(SealedType type, std::span<const std::byte> sealed) const {
    if (sealed.size() < kOverhead || sealed.size() > kMaxSealed) {
        return input_error("the sealed state is too short or too long");
    }
    Head head;
    std::memcpy(&head, sealed.data(), sizeof head);
    if (head.magic != kMagic || head.format.get() != kFormat || head.zero.get() != 0 ||
        head.type.get() != static_cast<std::uint8_t>(type)) {
        return input_error("the sealed state is not of a kind that this version knows");
    }
    const auto body = sealed.subspan(sizeof head, sealed.size() - kOverhead);
    std::array<std::byte, kTagBytes> tag{};
    std::memcpy(tag.data(), sealed.last(kTagBytes).data(), kTagBytes);
    const auto aad = associated(sealed.first(sizeof head));

    std::vector<std::byte> bytes(body.size());
    const Cipher cipher{EVP_CIPHER_CTX_new()};
    int length = 0;
    const bool done =
        cipher && gcm() != nullptr &&
        EVP_DecryptInit_ex(cipher.get(), gcm(), nullptr, in(key_.bytes()), in(head.nonce)) == 1 &&
        EVP_DecryptUpdate(cipher.get(), nullptr, &length, in(aad), static_cast<int>(aad.size())) == 1 &&
        EVP_DecryptUpdate(cipher.get(), out(bytes), &length, in(body), static_cast<int>(body.size())) == 1 &&
        EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_SET_TAG, kTagBytes, tag.data()) == 1 &&
        EVP_DecryptFinal_ex(cipher.get(), nullptr, &length) == 1;
    StateBlob plain{std::move(bytes)};  // wiped if it must not be used
    if (!done) return input_error(kForeign);
    return Opened{.version = head.version.get(), .plain = std::move(plain)};
}

}  // namespace holdfast::vtpm
