// SPDX-License-Identifier: Apache-2.0
#include "vtpm/tpm2/attestation.hpp"

#include <algorithm>
#include <string_view>

#include "vtpm/tpm2/builder.hpp"

namespace holdfast::tpm2 {
namespace {

// Part 2: §6.3 TPM_ALG_ID, §6.4 TPM_ECC_CURVE.
constexpr std::uint16_t ALG_SHA256 = 0x000b;
constexpr std::uint16_t ALG_NULL = 0x0010;
constexpr std::uint16_t ALG_ECDSA = 0x0018;
constexpr std::uint16_t ALG_ECC = 0x0023;
constexpr std::uint16_t ECC_NIST_P256 = 3;
// §8.3 TPMA_OBJECT: fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, sign.
constexpr std::uint32_t kAkAttributes =
    1U << 1 | 1U << 4 | 1U << 5 | 1U << 6 | 1U << 10 | 1U << 16 | 1U << 18;
constexpr std::size_t kCoordinate = 32;

/// All but the point, which is the same in the template and in the key.
std::vector<std::byte> common_part() {
    Writer area;
    area.put(ALG_ECC);
    area.put(ALG_SHA256);  // of the Name
    area.put(kAkAttributes);
    area.put(std::uint16_t{0});  // no policy
    area.put(ALG_NULL);          // no symmetric algorithm
    area.put(ALG_ECDSA);
    area.put(ALG_SHA256);
    area.put(ECC_NIST_P256);
    area.put(ALG_NULL);  // no key derivation
    return area.take();
}

/// Parameters of a response with sessions: their size in front, the sessions behind.
Result<std::span<const std::byte>> parameters(Reader& reader) {
    return reader.get_raw(HF_TRY(reader.get<std::uint32_t>()));
}

std::vector<std::byte> copy(std::span<const std::byte> bytes) { return {bytes.begin(), bytes.end()}; }

Result<std::vector<std::byte>> take_coordinate(Reader& reader) {
    const auto number = HF_TRY(reader.get_sized());
    if (number.size() > kCoordinate) return peer_fault("a coordinate is too long");
    std::vector<std::byte> padded(kCoordinate);
    std::ranges::copy(number, padded.end() - static_cast<std::ptrdiff_t>(number.size()));
    return padded;
}

}  // namespace

std::vector<std::byte> ak_template() {
    Writer area;
    area.put_raw(common_part());
    for (int i = 0; i < 2; ++i) {
        area.put(static_cast<std::uint16_t>(kCoordinate));
        area.put_raw(std::vector<std::byte>(kCoordinate));
    }
    return area.take();
}

Result<AkPublic> parse_ak(std::span<const std::byte> public_area) {
    const auto common = common_part();
    Reader reader{public_area};
    const auto head = HF_TRY(reader.get_raw(common.size()));
    if (!std::ranges::equal(head, common)) return peer_fault("an attestation key is not as its template");
    AkPublic key{.x = HF_TRY(take_coordinate(reader)), .y = HF_TRY(take_coordinate(reader))};
    HF_TRY(reader.expect_end());
    return key;
}

Digest256 asked_by_host(std::span<const std::byte> nonce) noexcept {
    constexpr std::string_view kLabel{"holdfast vtpm: asked by its host\0", 33};
    Sha256 hash;
    hash.update(std::as_bytes(std::span{kLabel}));
    hash.update(nonce);
    return hash.finish();
}

Message create_primary(std::uint32_t hierarchy, std::span<const std::byte> public_template) {
    return Command{St::SESSIONS, Cc::CreatePrimary}
        .put(hierarchy)
        .put_empty_password()
        .put(std::uint16_t{4})  // TPM2B_SENSITIVE_CREATE: an empty password and no data
        .put(std::uint16_t{0})
        .put(std::uint16_t{0})
        .put_sized(public_template)
        .put(std::uint16_t{0})  // no outside information
        .put(std::uint32_t{0})  // no PCRs
        .finish();
}

Message flush_context(std::uint32_t handle) {
    return Command{St::NO_SESSIONS, Cc::FlushContext}.put(handle).finish();
}

Message quote(std::uint32_t key, std::span<const std::byte> qualifying_data,
              std::span<const PcrBank> selection) {
    return Command{St::SESSIONS, Cc::Quote}
        .put(key)
        .put_empty_password()
        .put_sized(qualifying_data)
        .put(ALG_NULL)
        .put_selection(selection)
        .finish();
}

Message nv_read_public(std::uint32_t index) {
    return Command{St::NO_SESSIONS, Cc::NV_ReadPublic}.put(index).finish();
}

Message nv_read(std::uint32_t index, std::uint16_t offset, std::uint16_t size) {
    return Command{St::SESSIONS, Cc::NV_Read}
        .put(index)
        .put(index)
        .put_empty_password()
        .put(size)
        .put(offset)
        .finish();
}

Result<Primary> parse_create_primary(std::span<const std::byte> body) {
    Reader reader{body};
    const auto handle = HF_TRY(reader.get<std::uint32_t>());
    Reader inner{HF_TRY(parameters(reader))};
    return Primary{.handle = handle, .public_area = copy(HF_TRY(inner.get_sized()))};
}

Result<Quoted> parse_quote(std::span<const std::byte> body) {
    Reader reader{body};
    Reader inner{HF_TRY(parameters(reader))};
    Quoted quoted{.attest = copy(HF_TRY(inner.get_sized())), .signature = {}};
    quoted.signature = copy(inner.rest());
    return quoted;
}

Result<std::uint16_t> parse_nv_read_public(std::span<const std::byte> body) {
    Reader reader{body};
    Reader area{HF_TRY(reader.get_sized())};
    HF_TRY(area.get<std::uint32_t>());  // index
    HF_TRY(area.get<std::uint16_t>());  // hash of the Name
    HF_TRY(area.get<std::uint32_t>());  // attributes
    HF_TRY(area.get_sized());           // policy
    return area.get<std::uint16_t>();
}

Result<std::vector<std::byte>> parse_nv_read(std::span<const std::byte> body) {
    Reader reader{body};
    Reader inner{HF_TRY(parameters(reader))};
    return copy(HF_TRY(inner.get_sized()));
}

}  // namespace holdfast::tpm2
