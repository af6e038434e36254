// SPDX-License-Identifier: Apache-2.0
// What holdfast-vtpm and the command line say to holdfast-anchor: messages on a connected SEQPACKET socket,
// one question at a time, one answer to each. An answer to a Start, Commit or Stop means that it is the
// newest state there is, on disk and in the counter: only then may the guest see its reply.
//
// A worker's life: Start, then Commit for each new state, then Stop. If the connection ends, it pauses (no
// TPM command is answered), asks its launcher for a new one, and sends Attach with what it holds. The
// answer's leaf tells what became of a commit without an answer: `leaf.version == held.version` means send it
// again, `leaf.version == held.version + 1` means it was made. Denied means: end.
#pragma once

#include <optional>
#include <variant>

#include "sys/fd.hpp"
#include "sys/secret.hpp"
#include "sys/signed.hpp"
#include "vtpm/anchor/leaf.hpp"
#include "vtpm/anchor/witness.hpp"

namespace holdfast::anchor {

/// One sealed state of a vTPM. The blobs are durable before their digests are sent.
struct State {
    std::uint64_t version = 0;
    Digest permanent{};       ///< SHA-256 of the sealed blob
    Digest volatile_state{};  ///< zero: there is none
    friend bool operator==(const State&, const State&) = default;
};

struct StartAsk {
    VmId vm{};
    InstanceId instance{};  ///< fresh random bytes, of this life of the worker
    Digest tenant{};        ///< for a vTPM that is new; else ignored
};
struct AttachAsk {
    VmId vm{};
    InstanceId instance{};
    State held;                    ///< the newest that was acknowledged
    std::optional<State> pending;  ///< sent, and not answered
};
struct CommitAsk {
    State next;  ///< its version is one more than the leaf's
    bool strict = false;
};
struct StopAsk {};
struct EvidenceAsk {
    VmId vm{};
    Digest nonce{};
};
struct StatusAsk {};
struct CheckpointAsk {};
struct LeafAsk {
    VmId vm{};
};
/// Whether a commit would be denied for the budget now.
struct RoomAsk {
    bool strict = false;
};
/// The tenant accepts this state in place of the newest: reanchor.hpp says what is signed.
struct ReanchorAsk {
    VmId vm{};
    State accepted;
    std::vector<std::byte> tenant_key;  ///< SubjectPublicKeyInfo, DER: Ed25519, or ECDSA P-256 with SHA-256
    std::vector<std::byte> signature;
};
/// A bundle is about to be launched (docs/bundles.md): Committed, and none with a lower security version is
/// from now on.
struct BundleAsk {
    VmId bundle{};
    std::uint64_t security_version = 0;
};
/// The host's own PCRs, quoted with `about` as qualifying data.
struct QuoteAsk {
    Digest about{};
};
struct KeysAsk {};
using Ask = std::variant<StartAsk, AttachAsk, CommitAsk, StopAsk, EvidenceAsk, StatusAsk, CheckpointAsk,
                         LeafAsk, ReanchorAsk, RoomAsk, BundleAsk, QuoteAsk, KeysAsk, Challenge>;

enum class Denial : std::uint8_t {
    AlreadyRunning = 1,  ///< a worker of this vTPM is connected
    NotHere,             ///< exported, moved or retired
    NotYours,            ///< the leaf names another instance: somebody started it since
    StateDiffers,        ///< what the worker holds is not what the leaf says
    WrongVersion,        ///< not the next one
    OverBudget,          ///< too many stores: answer the guest TPM_RC_NV_RATE, go on
    NotStarted,          ///< a commit without Start or Attach before it
    UnknownVm,
    Full,           ///< no slot left for another vTPM
    NotSigned,      ///< not by the key that the vTPM was made with, or not this statement
    OlderBundle,    ///< a bundle of that name with a higher security version was launched here
    NotForThisTpm,  ///< the challenge was made for other keys
};
[[nodiscard]] const char* denial_words(Denial denial) noexcept;

inline constexpr std::size_t kVmKeyBytes = 32;
struct Granted {
    Leaf leaf;
    std::array<std::byte, kVmKeyBytes> key{};  ///< K_vm; the receiver puts it away and wipes this
};
struct Committed {
    std::uint64_t o = 0;
};
struct Denied {
    Denial why = Denial::NotStarted;
};
struct Evidence {
    std::vector<std::byte> bundle;  ///< docs/anchor.md, "What a verifier gets"
};
struct StatusAnswer {
    std::uint64_t o = 0;
    std::uint64_t s = 0;
    std::uint32_t reset_count = 0;
    std::uint32_t vtpms = 0;
    std::uint32_t running = 0;
    std::uint32_t gaps = 0;        ///< leaves that carry one
    std::uint32_t reanchored = 0;  ///< leaves that were
    bool adopted = false;          ///< this anchor began by adopting a checkpoint
    bool software_tpm = false;
    std::uint64_t commits = 0;  ///< since this anchor began
    std::uint64_t batches = 0;
    std::uint64_t flash_writes = 0;  ///< since init
    std::uint64_t flash_writes_today = 0;
    std::uint64_t daily_budget = 0;
    std::uint64_t made_at = 0;
    std::uint64_t started_at = 0;
    Digest root{};
};
struct LeafAnswer {
    Leaf leaf;
    Digest anchor{};  ///< SHA-256 of the attestation key's TPM2B_PUBLIC
};
struct Room {
    bool is_there = false;
};
struct QuoteAnswer {
    HostQuote quote;
    std::vector<std::byte> key;  ///< the attestation key's TPM2B_PUBLIC
};
/// What was in the challenge.
struct Activated {
    std::vector<std::byte> credential;
};
using Answer = std::variant<Granted, Committed, Denied, Evidence, StatusAnswer, LeafAnswer, Room, QuoteAnswer,
                            HostKeys, Activated>;

inline constexpr std::size_t kMaxAskBytes = 1024;
inline constexpr std::size_t kMaxAnswerBytes = 16 << 10;

[[nodiscard]] std::vector<std::byte> encode(const Ask& ask);
[[nodiscard]] std::vector<std::byte> encode(const Answer& answer);
Result<Ask> decode_ask(std::span<const std::byte> bytes);
Result<Answer> decode_answer(std::span<const std::byte> bytes);

/// The client's side: one question, and its answer. Blocks as long as the TPM takes. Peer error: the
/// anchor has gone, or is not one.
Result<Answer> ask(const UniqueFd& anchor, const Ask& question);

}  // namespace holdfast::anchor
