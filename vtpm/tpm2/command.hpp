// SPDX-License-Identifier: Apache-2.0
// TPM 2.0 commands and responses (TPM 2.0 Library 1.59, Part 3), as far as a machine's firmware needs them.
// Authorisation is the empty password of a platform hierarchy that nobody has claimed yet.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sys/result.hpp"
#include "vtpm/tpm2/hash.hpp"
#include "vtpm/tpm2/spec.hpp"

namespace holdfast::tpm2 {

class Reader;

using Message = std::vector<std::byte>;

/// The PCRs of one bank, as in TPML_PCR_SELECTION: bit n of `pcrs` is PCR n. An algorithm of a number that
/// we do not know still is a bank.
struct PcrBank {
    std::uint16_t alg = 0;
    std::uint32_t pcrs = 0;
    friend bool operator==(const PcrBank&, const PcrBank&) noexcept = default;
};
inline constexpr std::uint32_t kAllPcrs = (1U << kPcrs) - 1;

[[nodiscard]] Message startup(Su type);
[[nodiscard]] Message shutdown(Su type);
/// Of what has not been tested since Startup.
[[nodiscard]] Message self_test();
/// Tests nothing; the answer's body is a list of the algorithms that have not been tested: a count of 32 bits
/// first.
[[nodiscard]] Message get_untested();
[[nodiscard]] Message get_pcr_banks();
[[nodiscard]] Message pcr_extend(std::uint32_t pcr, std::span<const Digest> digests);
[[nodiscard]] Message pcr_read(std::span<const PcrBank> selection);
/// Takes effect at the next TPM Reset. Banks that are not named stay as they are: name them with no PCR.
[[nodiscard]] Message pcr_allocate(std::span<const PcrBank> banks);
/// Until the next TPM Reset nobody can use the platform hierarchy.
[[nodiscard]] Message disable_platform_hierarchy();

/// A response of its own length that carries nothing but a code: what a TPM answers to what it cannot parse.
[[nodiscard]] Message bare_response(std::uint32_t code);

struct Header {
    std::uint16_t tag = 0;
    std::uint32_t size = 0;  ///< of the whole message; not judged
    std::uint32_t code = 0;  ///< of a command or a response
};
[[nodiscard]] Result<Header> parse_header(std::span<const std::byte> message);

struct Response {
    std::uint32_t code = 0;
    St tag = St::NO_SESSIONS;
    std::span<const std::byte> body;  ///< behind the header; empty unless the code is SUCCESS
};
/// Judges tag and size. Borrows `message`.
[[nodiscard]] Result<Response> parse_response(std::span<const std::byte> message);
/// parse_response() of one that must have succeeded; `what` is the error otherwise.
[[nodiscard]] Result<Response> expect_success(std::span<const std::byte> message, const char* what);

/// TPML_PCR_SELECTION.
[[nodiscard]] Result<std::vector<PcrBank>> read_pcr_selection(Reader& reader);

/// Body of the answer to get_pcr_banks(): each bank that is implemented, also those with no PCR allocated.
[[nodiscard]] Result<std::vector<PcrBank>> parse_pcr_banks(std::span<const std::byte> body);
/// Body of the answer to pcr_allocate(): whether it will take effect.
[[nodiscard]] Result<bool> parse_pcr_allocate(const Response& response);

/// PCR values as read: the TPM chooses how many of the asked ones fit into one answer.
struct PcrValues {
    std::vector<PcrBank> selection;
    std::vector<std::vector<std::byte>> digests;  ///< in order of bank, then of PCR
};
[[nodiscard]] Result<PcrValues> parse_pcr_read(std::span<const std::byte> body);

}  // namespace holdfast::tpm2
