// SPDX-License-Identifier: Apache-2.0
// ATTESTATION_REPORT of SEV-SNP, versions 2 to 5 (AMD 56860, "SEV-SNP Firmware ABI", 1.58, Table 23).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "attest/formats/snp/tcb.hpp"
#include "attest/stage.hpp"
#include "sys/result.hpp"

namespace holdfast::attest::snp {

namespace guest_policy {
inline constexpr std::uint64_t kReservedOne = std::uint64_t{1} << 17;
inline constexpr std::uint64_t kMigrateMa = std::uint64_t{1} << 18;
inline constexpr std::uint64_t kDebug = std::uint64_t{1} << 19;
}  // namespace guest_policy

/// SIGNING_KEY of the report; other values are reserved.
enum class SigningKey : std::uint8_t { Vcek = 0, Vlek = 1, None = 7 };

struct CpuId {
    std::uint8_t family = 0;
    std::uint8_t model = 0;
    std::uint8_t stepping = 0;
};

struct FirmwareVersion {
    std::uint8_t major = 0;
    std::uint8_t minor = 0;
    std::uint8_t build = 0;
    friend auto operator<=>(const FirmwareVersion&, const FirmwareVersion&) = default;
};

struct MitigationVectors {
    std::uint64_t launch = 0;
    std::uint64_t current = 0;
};

/// Borrows the bytes it was read from.
struct Report {
    std::uint32_t version = 0;
    std::uint32_t guest_svn = 0;
    std::uint64_t policy = 0;
    std::uint32_t vmpl = 0;
    std::uint32_t signature_algorithm = 0;
    std::uint64_t platform_info = 0;  ///< bits that nobody knows yet are no error: real reports have them
    std::uint32_t key_info = 0;
    TcbBytes current_tcb{};
    TcbBytes reported_tcb{};
    TcbBytes committed_tcb{};
    TcbBytes launch_tcb{};
    std::optional<CpuId> cpu;  ///< from version 3 on, unless the host hides it
    FirmwareVersion current_firmware;
    FirmwareVersion committed_firmware;
    std::optional<MitigationVectors> mitigations;  ///< from version 5 on
    std::span<const std::byte> family_id;
    std::span<const std::byte> image_id;
    std::span<const std::byte> report_data;
    std::span<const std::byte> measurement;
    std::span<const std::byte> host_data;
    std::span<const std::byte> id_key_digest;
    std::span<const std::byte> author_key_digest;
    std::span<const std::byte> report_id;
    std::span<const std::byte> report_id_ma;
    std::span<const std::byte> chip_id;
    std::span<const std::byte> signed_part;
    std::span<const std::byte> signature;  ///< R and S, 72 bytes each, little-endian
    std::span<const std::byte> raw;

    [[nodiscard]] bool author_key_enabled() const noexcept { return (key_info & 1) != 0; }
    [[nodiscard]] std::uint8_t signing_key() const noexcept { return key_info >> 2 & 7; }
    /// MASK_CHIP_ID of the platform's configuration.
    [[nodiscard]] bool chip_id_masked() const noexcept;
};

inline constexpr std::size_t kReportSize = 0x4a0;

/// Of exactly that size; a version that is not known is an Input error.
[[nodiscard]] Result<Parsed<Report>> parse_report(std::span<const std::byte> bytes);

}  // namespace holdfast::attest::snp
