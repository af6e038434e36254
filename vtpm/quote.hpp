// SPDX-License-Identifier: Apache-2.0
// What a vTPM says of itself when its host asks: a quote of its PCRs by its attestation key, with the
// certificates that its creation left in it. A guest asks through its own TPM; its host at a Unix socket,
// beside the guest and without a word of the VMM. One message each way; the client is a user of the host who
// may use the vTPM's files.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sys/fd.hpp"
#include "sys/result.hpp"

namespace holdfast::vtpm {

struct QuotedPcrs {
    std::uint16_t alg = 0;   ///< TPM_ALG_ID of the bank
    std::uint32_t pcrs = 0;  ///< bit i: PCR i
    std::vector<std::byte> values;
};
struct OwnQuote {
    std::vector<std::byte> attest;          ///< TPMS_ATTEST
    std::vector<std::byte> signature;       ///< TPMT_SIGNATURE
    std::vector<std::byte> key;             ///< TPM2B_PUBLIC of the attestation key
    std::vector<QuotedPcrs> banks;          ///< PCRs 0-15 of the banks that are in use
    std::vector<std::byte> ak_certificate;  ///< DER; empty: it was made before vTPMs had one
    std::vector<std::byte> ek_certificate;
};

/// Runs one command and gives its response.
using RunCommand = std::function<std::vector<std::byte>(std::span<std::byte> command)>;
/// PCRs must not change while it runs. Leaves nothing loaded. What the quote is for says who asked: a host
/// takes asked_by_host(nonce), a guest the nonce as it is.
Result<OwnQuote> quote_itself(std::span<const std::byte> qualifying, const RunCommand& run);

inline constexpr std::size_t kMaxQuoteNonce = 64;
inline constexpr std::size_t kMaxQuoteRequest = 128;

struct QuoteAnswer {
    std::optional<OwnQuote> quote;
    std::string refusal;  ///< why there is none: words of the vTPM's
};
/// The asking side, at a connected SEQPACKET socket.
Result<QuoteAnswer> ask_for_quote(const UniqueFd& socket, std::span<const std::byte> nonce);
/// The answering side: the nonce of a request, and an answer.
Result<std::vector<std::byte>> decode_quote_request(std::span<const std::byte> message);
Result<QuoteAnswer> decode_quote_answer(std::span<const std::byte> message);
[[nodiscard]] std::vector<std::byte> encode_quote_answer(const Result<OwnQuote>& quote);

}  // namespace holdfast::vtpm
