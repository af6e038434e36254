// SPDX-License-Identifier: Apache-2.0
// The group commit: takes what the clients asked while the last TPM command ran, makes one record and one
// increment of it, and answers all. No sockets: the server hands in questions and carries answers.
#pragma once

#include <map>
#include <optional>

#include "sys/rate.hpp"
#include "vtpm/anchor/anchor.hpp"
#include "vtpm/anchor/evidence.hpp"
#include "vtpm/anchor/protocol.hpp"
#include "vtpm/anchor/wear.hpp"

namespace holdfast::anchor {

using ClientId = std::uint64_t;

/// One thread. After an error of settle() the anchor is dead, and so is the clerk.
class Clerk {
public:
    using Clock = std::chrono::steady_clock;
    struct Setup {
        Anchor& anchor;
        Counters& counters;          ///< for certificates
        Witness* witness = nullptr;  ///< none: what asks for it is denied
        const SecretBytes& vm_keys;  ///< what each K_vm is derived from
        std::span<const std::byte> attestation_public;
        WearCount wear;
        std::uint64_t daily_budget = 0;     ///< flash writes; 0: without a limit
        std::uint64_t stores_a_second = 0;  ///< of one vTPM, ten times as many at once; 0: without a limit
        bool software_tpm = false;
    };
    Clerk(const Setup& setup, Clock::time_point now);

    /// Peer error: a second question before the answer to the first; the client is to be dropped.
    Result<void> take(ClientId client, const Ask& ask);
    /// Its leaf stays running: it may attach again.
    void client_gone(ClientId client);

    struct Reply {
        ClientId client = 0;
        Answer answer;
    };
    /// Everything taken so far, decided and answered. At most a record, two increments and two certificates.
    Result<std::vector<Reply>> settle(Clock::time_point now);
    [[nodiscard]] bool has_questions() const noexcept { return !questions_.empty(); }

    /// A checkpoint, if something was committed since the last one and its time has come.
    Result<void> checkpoint_if_due(Clock::time_point now);
    [[nodiscard]] std::optional<Clock::time_point> checkpoint_due() const noexcept { return due_; }

private:
    struct Binding {
        VmId vm{};
        InstanceId instance{};
    };
    struct Question {
        ClientId client = 0;
        Ask ask;
    };
    struct Batch;
    using Decision = std::optional<Answer>;  ///< none: it waits for the batch

    void decide(Batch& batch, const Question& question, Clock::time_point now);
    Decision decide(Batch& batch, ClientId client, const StartAsk& ask);
    Decision decide(Batch& batch, ClientId client, const AttachAsk& ask);
    Decision decide(Batch& batch, ClientId client, const CommitAsk& ask, Clock::time_point now);
    Decision decide(Batch& batch, ClientId client, const StopAsk& ask);
    Decision decide(Batch& batch, ClientId client, const EvidenceAsk& ask);
    Decision decide(Batch& batch, ClientId client, const ReanchorAsk& ask);
    Decision decide(Batch& batch, ClientId client, const BundleAsk& ask, Clock::time_point now);
    [[nodiscard]] Answer leaf_of(const LeafAsk& ask) const;
    [[nodiscard]] Digest anchor_name() const;
    Result<void> certify(Batch& batch);
    Result<Answer> witness(const Ask& ask);
    [[nodiscard]] StatusAnswer status() const;
    [[nodiscard]] Granted grant(const Leaf& leaf) const;
    [[nodiscard]] bool within_rate(const VmId& vm, Clock::time_point now);
    [[nodiscard]] const Leaf* bound_leaf(ClientId client) const;
    void bind(ClientId client, const VmId& vm, const InstanceId& instance);

    Setup setup_;
    Anchor& anchor_;
    WearBudget budget_;
    std::vector<Question> questions_;
    std::map<ClientId, Binding> bindings_;
    std::map<VmId, ClientId> connected_;
    std::map<VmId, TokenBucket> rates_;
    std::optional<Clock::time_point> due_;
    std::uint64_t commits_ = 0;
    std::uint64_t batches_ = 0;
    std::uint64_t started_at_;
};

}  // namespace holdfast::anchor
