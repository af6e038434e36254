// SPDX-License-Identifier: Apache-2.0
// The TCG event log in its crypto-agile form (TCG PC Client Platform Firmware Profile 1.05, §10): writing,
// and what PCRs come of it. Reading those of others is the verifier's (attest/formats/eventlog).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "sys/result.hpp"
#include "vtpm/tpm2/hash.hpp"

namespace holdfast::eventlog {

enum class EventType : std::uint32_t {  // §10.4.1, those that we write
    NO_ACTION = 0x03,
    SEPARATOR = 0x04,
    POST_CODE = 0x01,
    S_CRTM_VERSION = 0x08,
    PLATFORM_CONFIG_FLAGS = 0x0a,
    IPL = 0x0d,
};

struct Event {
    std::uint32_t pcr = 0;
    EventType type = EventType::NO_ACTION;
    std::vector<tpm2::Digest> digests;
    std::vector<std::byte> data;
};

[[nodiscard]] Event make_event(std::uint32_t pcr, EventType type, std::span<const tpm2::Digest> digests,
                               std::string_view data);

/// The banks we measure into. A bank that is active and not measured into would be the guest's to forge.
inline constexpr std::array kBanks{tpm2::Alg::SHA256, tpm2::Alg::SHA384};
using Digests = std::array<tpm2::Digest, kBanks.size()>;
/// One running hash for each of kBanks; finish() is the last call.
class BankHashes {
public:
    void update(std::span<const std::byte> bytes) noexcept;
    [[nodiscard]] Digests finish() noexcept;

private:
    std::array<tpm2::Hash, kBanks.size()> running_{tpm2::Hash{kBanks[0]}, tpm2::Hash{kBanks[1]}};
};
[[nodiscard]] Digests digests_of(std::span<const std::byte> bytes) noexcept;

/// The log's bytes: the Spec ID event, then `events`, each with a digest for each of kBanks.
[[nodiscard]] std::vector<std::byte> encode(std::span<const Event> events);

/// PCRs after a TPM Reset and these events, for one bank; none: nothing was extended into it. An event that
/// has no digest for the bank, or a PCR that there is not, is a Peer error.
/// A vector of kPcrs and not an array: GCC 12 reads whether one of an array is there before it has copied the
/// array out of its Result (seen in the code that it makes).
using Pcrs = std::vector<std::optional<tpm2::Digest>>;
[[nodiscard]] Result<Pcrs> replay(std::span<const Event> events, tpm2::Alg bank);

struct PcrValue {
    std::uint32_t pcr = 0;
    tpm2::Digest value;
};
/// The PCRs that `events` extend, in each of kBanks.
[[nodiscard]] Result<std::vector<PcrValue>> replay_banks(std::span<const Event> events);

}  // namespace holdfast::eventlog
