// SPDX-License-Identifier: Apache-2.0
// What a TPM states and signs: TPMS_ATTEST (TPM 2.0 Library 1.59, Part 2 §10.12) with the bodies of quotes
// and NV certifications; those of other kinds stay unread. And TPMT_SIGNATURE (§11.3.4).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "attest/crypto/signature.hpp"
#include "attest/stage.hpp"
#include "vtpm/tpm2/command.hpp"

namespace holdfast::attest::tpm {

struct ClockInfo {
    std::uint64_t clock = 0;
    std::uint32_t reset_count = 0;
    std::uint32_t restart_count = 0;
    bool safe = false;  ///< false: a later value may have been stated already
};

struct QuoteBody {
    std::vector<tpm2::PcrBank> selection;
    std::span<const std::byte> pcr_digest;
};
struct NvBody {
    std::span<const std::byte> index_name;
    std::uint16_t offset = 0;
    std::span<const std::byte> contents;
};

/// Borrows the bytes it was read from.
struct Attest {
    std::uint32_t magic = 0;
    std::uint16_t type = 0;
    std::span<const std::byte> signer;  ///< qualified name of the key
    std::span<const std::byte> extra;   ///< what the caller of the TPM wanted to have signed: the nonce
    ClockInfo clock_info;
    std::uint64_t firmware = 0;
    std::variant<std::monostate, QuoteBody, NvBody> body;
    std::span<const std::byte> raw;  ///< what is signed
};

/// Exact: no body of a kind that we read has trailing bytes. Magic and type are for authenticate() to judge.
[[nodiscard]] Result<Parsed<Attest>> parse_attest(std::span<const std::byte> bytes);

/// Algorithms as numbers, which may be ones that nobody allows.
struct WireSignature {
    std::uint16_t scheme = 0;
    std::uint16_t hash = 0;
    std::span<const std::byte> first;   ///< the RSA signature, or r
    std::span<const std::byte> second;  ///< s
};
/// A scheme that is not known is a Peer error: where such a signature ends cannot be told.
[[nodiscard]] Result<WireSignature> parse_signature(std::span<const std::byte> bytes);

}  // namespace holdfast::attest::tpm
