// SPDX-License-Identifier: Apache-2.0
// A vTPM's attestation key, where its certificate lies, and the commands by which it quotes (TPM 2.0 Library
// 1.59, Part 3). The key is a primary of the endorsement hierarchy, so it is the same one for the whole life
// of the vTPM and needs no place in it; certificate and template lie in the NV indices where Google's vTPMs
// have theirs, so that tools that know those find ours.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sys/sha2.hpp"
#include "vtpm/tpm2/command.hpp"

namespace holdfast::tpm2 {

inline constexpr std::uint32_t kEkCertificate = 0x01c0000a;  ///< of the P-256 EK (TCG EK Profile 2.5, L-2)
inline constexpr std::uint32_t kAkCertificate = 0x01c10002;
inline constexpr std::uint32_t kAkTemplate = 0x01c10003;

/// TPMT_PUBLIC for TPM2_CreatePrimary: ECDSA P-256 with SHA-256; restricted, signing, fixed to its TPM, made
/// by it, usable with an empty password and outside of dictionary attack protection.
[[nodiscard]] std::vector<std::byte> ak_template();
/// The coordinates in a TPMT_PUBLIC that was made from it, padded to the curve's size.
struct AkPublic {
    std::vector<std::byte> x;
    std::vector<std::byte> y;
};
[[nodiscard]] Result<AkPublic> parse_ak(std::span<const std::byte> public_area);

/// The qualifying data of a quote that the host asks for, and not the guest: SHA-256 of a label and the
/// nonce. holdfast-vtpm quotes nothing else for the host, so a quote for a nonce as it is was asked for
/// through the guest's own TPM.
[[nodiscard]] Digest256 asked_by_host(std::span<const std::byte> nonce) noexcept;

[[nodiscard]] Message create_primary(std::uint32_t hierarchy, std::span<const std::byte> public_template);
[[nodiscard]] Message flush_context(std::uint32_t handle);
/// By the key's own scheme.
[[nodiscard]] Message quote(std::uint32_t key, std::span<const std::byte> qualifying_data,
                            std::span<const PcrBank> selection);
[[nodiscard]] Message nv_read_public(std::uint32_t index);
/// With the index's own, empty password.
[[nodiscard]] Message nv_read(std::uint32_t index, std::uint16_t offset, std::uint16_t size);

struct Primary {
    std::uint32_t handle = 0;
    std::vector<std::byte> public_area;  ///< TPMT_PUBLIC
};
[[nodiscard]] Result<Primary> parse_create_primary(std::span<const std::byte> body);
struct Quoted {
    std::vector<std::byte> attest;     ///< TPMS_ATTEST
    std::vector<std::byte> signature;  ///< TPMT_SIGNATURE
};
[[nodiscard]] Result<Quoted> parse_quote(std::span<const std::byte> body);
/// The size of the index's data.
[[nodiscard]] Result<std::uint16_t> parse_nv_read_public(std::span<const std::byte> body);
[[nodiscard]] Result<std::vector<std::byte>> parse_nv_read(std::span<const std::byte> body);

}  // namespace holdfast::tpm2
