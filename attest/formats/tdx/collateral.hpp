// SPDX-License-Identifier: Apache-2.0
// Intel's collateral for TDX: TCB info and the identity of the quoting enclave, as JSON that is signed as it
// was written (Intel PCS API v4), and bundles of them with revocation lists as offline verifiers keep them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "attest/crypto/x509.hpp"
#include "attest/stage.hpp"

namespace holdfast::attest::tdx {

enum class TcbStatus : std::uint8_t {
    UpToDate,
    SwHardeningNeeded,
    ConfigurationNeeded,
    ConfigurationAndSwHardeningNeeded,
    OutOfDate,
    OutOfDateConfigurationNeeded,
    Revoked,
};
/// As Intel writes it: "SWHardeningNeeded".
[[nodiscard]] std::string_view status_name(TcbStatus status) noexcept;
[[nodiscard]] std::optional<TcbStatus> status_of_name(std::string_view name) noexcept;

/// One signed piece as it came: from the API as {"tcbInfo":{…},"signature":"…"}, or taken apart in a bundle.
struct Statement {
    std::string body;  ///< exactly what is signed
    std::vector<std::byte> signature;
    std::string issuer_chain;  ///< PEM; empty: the signer's certificate must come from elsewhere
};
struct Bundle {
    std::optional<Statement> tcb_info;
    std::optional<Statement> qe_identity;
    std::vector<Crl> crls;
    std::string pck_issuer_chain;
};

/// The answer of the API for `member` ("tcbInfo", "enclaveIdentity"); its chain came in a header of HTTP.
[[nodiscard]] Result<Statement> parse_statement(std::string_view json, std::string_view member,
                                                std::string_view issuer_chain);
/// A bundle: tcb_info, tcb_info_signature, tcb_info_issuer_chain, the same of qe_identity, root_ca_crl,
/// pck_crl and pck_crl_issuer_chain; each may be missing.
[[nodiscard]] Result<Bundle> parse_bundle(std::string_view json);

/// When a piece may be used, in seconds since 1970, and how new it is.
struct Validity {
    std::int64_t issued = 0;
    std::int64_t next_update = 0;
    std::uint64_t evaluation_number = 0;
};

struct IsvLevel {
    std::uint16_t isv_svn = 0;
    TcbStatus status = TcbStatus::Revoked;
    std::vector<std::string> advisories;
};
struct TcbLevel {
    std::array<std::uint8_t, 16> sgx{};
    std::array<std::uint8_t, 16> tdx{};
    std::uint16_t pce_svn = 0;
    TcbStatus status = TcbStatus::Revoked;
    std::vector<std::string> advisories;
};
struct ModuleIdentity {
    std::string id;  ///< "TDX_03"; empty: of modules that have no levels of their own
    std::vector<std::byte> mr_signer;
    std::vector<std::byte> attributes;
    std::vector<std::byte> attributes_mask;
    std::vector<IsvLevel> levels;
};
struct TcbInfo {
    std::string id;  ///< "TDX" or "SGX"
    std::uint64_t version = 0;
    Validity validity;
    std::vector<std::byte> fmspc;
    std::vector<std::byte> pce_id;
    std::optional<ModuleIdentity> module;
    std::vector<ModuleIdentity> modules;
    std::vector<TcbLevel> levels;
};
struct QeIdentity {
    std::string id;  ///< "TD_QE", or "QE" of SGX
    std::uint64_t version = 0;
    Validity validity;
    std::vector<std::byte> misc_select;
    std::vector<std::byte> misc_select_mask;
    std::vector<std::byte> attributes;
    std::vector<std::byte> attributes_mask;
    std::vector<std::byte> mr_signer;
    std::uint16_t isv_prod_id = 0;
    std::vector<IsvLevel> levels;
};

/// Intel signed it: chain to a root of `verifier` at the time of `known`, and signature. What is wrong with
/// collateral refuses the evidence and does not make it less authentic.
[[nodiscard]] std::optional<Authenticated<TcbInfo>> authenticate_tcb_info(const Statement& statement,
                                                                          const ChainRequest& known,
                                                                          ChainVerifier& verifier,
                                                                          Findings& findings);
[[nodiscard]] std::optional<Authenticated<QeIdentity>> authenticate_qe_identity(const Statement& statement,
                                                                                const ChainRequest& known,
                                                                                ChainVerifier& verifier,
                                                                                Findings& findings);

/// `actual` and `expected` agree in the bits of `mask`; false also where the sizes differ.
[[nodiscard]] bool equal_masked(std::span<const std::byte> actual, std::span<const std::byte> expected,
                                std::span<const std::byte> mask) noexcept;

}  // namespace holdfast::attest::tdx
