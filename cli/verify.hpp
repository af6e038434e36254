// SPDX-License-Identifier: Apache-2.0
// holdfast verify: files in, one verdict out.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "attest/crypto/x509.hpp"
#include "attest/finding.hpp"
#include "attest/formats/tpm/authenticate.hpp"
#include "attest/policy/policy.hpp"
#include "attest/verify/cpu.hpp"
#include "cli/options.hpp"
#include "cli/policy_files.hpp"

namespace holdfast::cli {

using Blob = std::vector<std::byte>;
using Facts = nlohmann::ordered_json;

/// What was remembered of a signer.
struct Memory {
    attest::tpm::LastSeen clock;
    std::uint64_t counter = 0;
};
struct Memories {
    std::function<std::optional<Memory>(const std::string& signer)> recall;  ///< none: nothing yet
    std::function<void(const std::string& signer, const Memory& memory)> remember;
};
/// Those of a file, which need not be there yet; empty: none. They throw HF-0108.
[[nodiscard]] Memories memories_in(const std::string& path);

/// One raw piece of evidence, and the files that came along with it.
struct Piece {
    const VerifyOptions& options;
    attest::Policy policy;
    Blob evidence;
    std::optional<Blob> nonce;
    std::int64_t at = 0;
    Memories memories{};                     ///< empty functions: nothing is remembered
    attest::tpm::KeyMemory* keys = nullptr;  ///< of who judges again and again

    [[nodiscard]] std::vector<attest::Crl> crls() const;
    [[nodiscard]] std::optional<Memory> memory_of(const std::string& signer) const;
};

/// What was found, what the piece says, and whom a memory of it belongs to.
struct Verdict {
    attest::Findings findings;
    Facts facts = Facts::object();
    std::string signer;                          ///< of TPM statements: the key that signed, in hexadecimal
    std::optional<attest::tpm::ClockInfo> seen;  ///< to be remembered if it is accepted
    std::optional<std::uint64_t> counter;
    std::optional<std::pair<std::string, attest::tpm::ClockInfo>> guest;  ///< the same of the VM's vTPM
};
[[nodiscard]] Verdict verify_piece(const Piece& piece);
/// All evidence of a VM, as `holdfast attest` collects it.
[[nodiscard]] Verdict verify_evidence(const Piece& piece, const PolicyFiles& files);

/// What a CPU's report says of itself.
void tell_snp(const attest::SnpReport& report, Facts& facts);
void tell_tdx(const attest::TdxReport& report, Facts& facts);

/// What the key is called in the memory: its public key, in whichever form it came.
[[nodiscard]] std::string signer_of(std::span<const std::byte> key);

/// A file of at most 64 MiB, or HF-0108.
[[nodiscard]] Blob read_evidence(const std::string& path);
/// A public key as TPMs write it, or in PEM or DER.
[[nodiscard]] Blob read_key(const std::string& path);
/// JSON, {"0": hex} or {"sha256": {"0": hex}}, or what tpm2_pcrread prints.
[[nodiscard]] std::vector<attest::tpm::GivenPcrs> read_pcrs(const std::string& path);
[[nodiscard]] attest::Policy read_policy(const std::string& path);
[[nodiscard]] std::vector<attest::Certificate> read_certificates(const std::vector<std::string>& paths);

/// Only what was accepted is remembered: a refused statement must not move what later ones are held against.
void remember_if_accepted(const Memories& memories, const Verdict& verdict);

/// Throws HF-0104.
void write_html(const std::string& path, const VerifyOptions& options, const Verdict& verdict);
/// The chain of trust as a tree, or one JSON object; the exit status.
int show_verdict(const VerifyOptions& options, const Verdict& verdict);

}  // namespace holdfast::cli
