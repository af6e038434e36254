// SPDX-License-Identifier: Apache-2.0
// Quotes of Intel's quoting enclaves: TDX quotes of version 4 and 5, and those of SGX enclaves (version 3, or
// 4 with that TEE type), which a TDX verifier must be able to tell apart ("Intel TDX DCAP Quoting Library
// API", 0.9, appendix A).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <variant>

#include "attest/stage.hpp"
#include "sys/result.hpp"

namespace holdfast::attest::tdx {

/// REPORTBODY of SGX (Intel SDM, Volume 3D, table 38-23), of an application's enclave or of the quoting
/// enclave.
struct EnclaveReport {
    std::span<const std::byte> misc_select;  // 4
    std::span<const std::byte> attributes;   // 16
    std::span<const std::byte> mr_enclave;
    std::span<const std::byte> mr_signer;
    std::uint16_t isv_prod_id = 0;
    std::uint16_t isv_svn = 0;
    std::span<const std::byte> report_data;
    std::span<const std::byte> raw;
};

namespace attributes {
inline constexpr std::uint64_t kDebugGroup = 0xff;  ///< TUD: with any of these the TD is not to be trusted
inline constexpr std::uint64_t kSeptVeDisable = std::uint64_t{1} << 28;
inline constexpr std::uint64_t kMigratable = std::uint64_t{1} << 29;
}  // namespace attributes

/// TDREPORT's TD information with the TEE's TCB, as quotes have it.
struct TdReport {
    std::span<const std::byte> tee_tcb_svn;
    std::span<const std::byte> mr_seam;
    std::span<const std::byte> mr_signer_seam;
    std::span<const std::byte> seam_attributes;
    std::span<const std::byte> td_attributes;
    std::span<const std::byte> xfam;
    std::span<const std::byte> mrtd;
    std::span<const std::byte> mr_config_id;
    std::span<const std::byte> mr_owner;
    std::span<const std::byte> mr_owner_config;
    std::array<std::span<const std::byte>, 4> rtmr;
    std::span<const std::byte> report_data;
    // From TDX 1.5 on, in quotes of version 5.
    std::optional<std::span<const std::byte>> tee_tcb_svn2;
    std::optional<std::span<const std::byte>> mr_service_td;

    [[nodiscard]] std::uint64_t attribute_bits() const noexcept;
    [[nodiscard]] std::uint64_t xfam_bits() const noexcept;
};

/// Borrows the bytes it was read from.
struct Quote {
    std::uint16_t version = 0;
    std::uint16_t key_type = 0;
    std::uint32_t tee_type = 0;
    std::span<const std::byte> vendor;
    std::span<const std::byte> user_data;
    std::variant<EnclaveReport, TdReport> body;
    std::span<const std::byte> signed_part;
    std::span<const std::byte> signature;        ///< r and s, 32 bytes each
    std::span<const std::byte> attestation_key;  ///< x and y
    EnclaveReport quoting_enclave;
    std::span<const std::byte> quoting_enclave_signature;
    std::span<const std::byte> authentication_data;
    std::span<const std::byte> pck_chain;  ///< PEM, the leaf first
    std::size_t trailing = 0;              ///< bytes behind the quote; callers often hand over a whole buffer

    [[nodiscard]] const TdReport* td() const noexcept { return std::get_if<TdReport>(&body); }
};

inline constexpr std::uint32_t kTeeSgx = 0;
inline constexpr std::uint32_t kTeeTdx = 0x81;

/// Sizes within are exact; bytes behind the quote are counted and not read.
[[nodiscard]] Result<Parsed<Quote>> parse_quote(std::span<const std::byte> bytes);
/// The TD information of 584 or, of TDX 1.5, 648 bytes.
[[nodiscard]] Result<TdReport> parse_td_report(std::span<const std::byte> bytes);

}  // namespace holdfast::attest::tdx
