// SPDX-License-Identifier: Apache-2.0
#include "vtpm/ca/ek.hpp"

#include <algorithm>
#include <concepts>
#include <cstring>

#include "sys/wire/endian.hpp"

namespace holdfast::vtpm::ca {
namespace {

constexpr std::uint16_t ALG_RSA = 0x0001;
constexpr std::uint16_t ALG_AES = 0x0006;
constexpr std::uint16_t ALG_SHA256 = 0x000b;
constexpr std::uint16_t ALG_SHA384 = 0x000c;
constexpr std::uint16_t ALG_NULL = 0x0010;
constexpr std::uint16_t ALG_ECC = 0x0023;
constexpr std::uint16_t ALG_CFB = 0x0043;
constexpr std::uint16_t ECC_NIST_P256 = 3;
constexpr std::uint16_t ECC_NIST_P384 = 4;
// Profile B.3.2 and B.4.2: fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy, restricted, decrypt;
// the high range has userWithAuth too.
constexpr std::uint32_t kLowAttributes = 0x000300b2;
constexpr std::uint32_t kHighAttributes = 0x000300f2;

// PolicyA for SHA-256: TPM2_PolicySecret(TPM_RH_ENDORSEMENT).
constexpr std::array<unsigned char, 32> kPolicyA{
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
    0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa};
// PolicyB for SHA-384: that, or what the platform's owner wrote to an index made for it.
constexpr std::array<unsigned char, 48> kPolicyB{
    0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc, 0xf5, 0xfd, 0x3a, 0x1a,
    0x07, 0x41, 0x48, 0xbb, 0x35, 0xd3, 0xb4, 0xe4, 0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca,
    0xcb, 0x47, 0xba, 0x09, 0x69, 0x96, 0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12};

struct Description {
    EkKind kind;
    std::uint32_t index;
    std::uint16_t type;
    std::uint16_t name_hash;
    std::uint32_t attributes;
    std::span<const unsigned char> policy;
    std::uint16_t aes_bits;
    std::uint16_t curve;       // ECC
    std::size_t unique_bytes;  // in the template, all zero: the low range fills, the high range is empty
    std::size_t number_bytes;  // of a modulus or a coordinate
};
constexpr std::array<Description, 3> kDescriptions{{
    {EkKind::Rsa2048, 0x01c00002, ALG_RSA, ALG_SHA256, kLowAttributes, kPolicyA, 128, 0, 256, 256},
    {EkKind::P256, 0x01c0000a, ALG_ECC, ALG_SHA256, kLowAttributes, kPolicyA, 128, ECC_NIST_P256, 32, 32},
    {EkKind::P384, 0x01c00016, ALG_ECC, ALG_SHA384, kHighAttributes, kPolicyB, 256, ECC_NIST_P384, 0, 48},
}};

const Description& description_of(EkKind kind) noexcept {
    return *std::ranges::find(kDescriptions, kind, &Description::kind);
}

template <std::unsigned_integral T>
void put(std::vector<std::byte>& out, T value) {
    const Be<T> ordered{value};
    const auto bytes = std::as_bytes(std::span{&ordered, 1});
    out.insert(out.end(), bytes.begin(), bytes.end());
}

void put_zeros(std::vector<std::byte>& out, std::size_t size) {
    put(out, static_cast<std::uint16_t>(size));
    out.resize(out.size() + size);
}

/// Everything in front of `unique`, which is the same in the template and in the key.
std::vector<std::byte> common_part(const Description& d) {
    std::vector<std::byte> out;
    put(out, d.type);
    put(out, d.name_hash);
    put(out, d.attributes);
    put(out, static_cast<std::uint16_t>(d.policy.size()));
    const auto policy = std::as_bytes(d.policy);
    out.insert(out.end(), policy.begin(), policy.end());
    put(out, ALG_AES);
    put(out, d.aes_bits);
    put(out, ALG_CFB);
    put(out, ALG_NULL);  // no signature scheme
    if (d.type == ALG_RSA) {
        put(out, std::uint16_t{2048});
        put(out, std::uint32_t{0});  // the exponent 65537
    } else {
        put(out, d.curve);
        put(out, ALG_NULL);  // no key derivation
    }
    return out;
}

/// A TPM2B number, padded in front to `size`.
Result<std::vector<std::byte>> take_number(std::span<const std::byte>& from, std::size_t size) {
    Be<std::uint16_t> length;
    if (from.size() < sizeof length) return peer_fault("an EK is too short");
    std::memcpy(&length, from.data(), sizeof length);
    from = from.subspan(sizeof length);
    if (length.get() > size || length.get() > from.size())
        return peer_fault("an EK has a number that is too long");
    std::vector<std::byte> number(size);
    std::ranges::copy(from.first(length.get()), number.end() - length.get());
    from = from.subspan(length.get());
    return number;
}

}  // namespace

std::uint32_t certificate_index(EkKind kind) noexcept { return description_of(kind).index; }

std::vector<std::byte> ek_template(EkKind kind) {
    const Description& d = description_of(kind);
    auto out = common_part(d);
    put_zeros(out, d.unique_bytes);
    if (d.type == ALG_ECC) put_zeros(out, d.unique_bytes);
    return out;
}

Result<EkPublic> parse_ek(EkKind kind, std::span<const std::byte> public_area) {
    const Description& d = description_of(kind);
    const auto common = common_part(d);
    if (public_area.size() < common.size() || !std::ranges::equal(common, public_area.first(common.size()))) {
        return peer_fault("an EK is not as its template says");
    }
    auto rest = public_area.subspan(common.size());
    EkPublic key{.kind = kind, .modulus = {}, .x = {}, .y = {}};
    if (d.type == ALG_RSA) {
        key.modulus = HF_TRY(take_number(rest, d.number_bytes));
    } else {
        key.x = HF_TRY(take_number(rest, d.number_bytes));
        key.y = HF_TRY(take_number(rest, d.number_bytes));
    }
    if (!rest.empty()) return peer_fault("an EK has trailing bytes");
    return key;
}

}  // namespace holdfast::vtpm::ca
