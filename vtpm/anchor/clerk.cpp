// SPDX-License-Identifier: Apache-2.0
#include "vtpm/anchor/clerk.hpp"

#include <algorithm>
#include <ctime>
#include <set>

#include "sys/signed.hpp"
#include "vtpm/anchor/hash.hpp"
#include "vtpm/anchor/reanchor.hpp"

namespace holdfast::anchor {
namespace {

// How long acknowledged commits may depend on the TPM not losing power.
constexpr std::chrono::minutes kDirtyTime{15};

State state_of(const Leaf& leaf) { return {leaf.version, leaf.permanent, leaf.volatile_state}; }

}  // namespace

/// What one settle() gathers. A vTPM is in a batch once: a second change waits for the next.
struct Clerk::Batch {
    std::vector<Leaf> changes;
    std::set<VmId> changed;
    Strength strength = Strength::Ordinary;
    bool confirm = false;     ///< somebody attaches: nobody may have taken over
    bool checkpoint = false;  ///< somebody asked for one
    struct Waiting {
        ClientId client = 0;
        Answer answer;  ///< sent once the batch is made
        std::optional<Binding> bind;
        bool unbind = false;
    };
    std::vector<Waiting> waiting;
    struct Proof {
        ClientId client = 0;
        EvidenceAsk ask;
    };
    std::vector<Proof> proofs;
    std::vector<Question> witnessed;  ///< about the host, for its TPM to answer
    std::vector<Question> later;
    std::vector<Reply> replies;
};

Clerk::Clerk(const Setup& setup, Clock::time_point now)
    : setup_{setup},
      anchor_{setup.anchor},
      budget_{setup.daily_budget, setup.wear.jump_bits, now},
      started_at_{static_cast<std::uint64_t>(std::time(nullptr))} {
    budget_.moved(2, 2);  // the start itself; its fence is counted by the number of starts
}

Result<void> Clerk::take(ClientId client, const Ask& ask) {
    const bool asked =
        std::ranges::any_of(questions_, [&](const Question& each) { return each.client == client; });
    if (asked) return peer_fault("a second question before the first answer");
    questions_.push_back({client, ask});
    return {};
}

void Clerk::client_gone(ClientId client) {
    std::erase_if(questions_, [&](const Question& each) { return each.client == client; });
    const auto at = bindings_.find(client);
    if (at == bindings_.end()) return;
    const auto connected = connected_.find(at->second.vm);
    if (connected != connected_.end() && connected->second == client) connected_.erase(connected);
    bindings_.erase(at);
}

void Clerk::bind(ClientId client, const VmId& vm, const InstanceId& instance) {
    bindings_[client] = {vm, instance};
    connected_[vm] = client;
}

/// The leaf that this client may change: it is running, and names the client's instance.
const Leaf* Clerk::bound_leaf(ClientId client) const {
    const auto at = bindings_.find(client);
    if (at == bindings_.end()) return nullptr;
    const Leaf* const leaf = anchor_.ledger().find(at->second.vm);
    const bool mine =
        leaf != nullptr && leaf->status == Status::Running && leaf->instance == at->second.instance;
    return mine ? leaf : nullptr;
}

bool Clerk::within_rate(const VmId& vm, Clock::time_point now) {
    if (setup_.stores_a_second == 0) return true;
    auto& bucket =
        rates_.try_emplace(vm, setup_.stores_a_second, 10 * setup_.stores_a_second, now).first->second;
    return bucket.take(1, now) == 1;
}

Granted Clerk::grant(const Leaf& leaf) const {
    Granted granted{.leaf = leaf, .key = {}};
    granted.key = hmac_sha256(setup_.vm_keys.bytes(), {leaf.vm});
    return granted;
}

// ---- One question at a time.

void Clerk::decide(Batch& batch, const Question& question, Clock::time_point now) {
    const ClientId client = question.client;
    Decision decision;
    if (const auto* start = std::get_if<StartAsk>(&question.ask)) {
        if (batch.changed.contains(start->vm)) return batch.later.push_back(question);
        decision = decide(batch, client, *start);
    } else if (const auto* attach = std::get_if<AttachAsk>(&question.ask)) {
        if (batch.changed.contains(attach->vm)) return batch.later.push_back(question);
        decision = decide(batch, client, *attach);
    } else if (const auto* commit = std::get_if<CommitAsk>(&question.ask)) {
        decision = decide(batch, client, *commit, now);
    } else if (const auto* stop = std::get_if<StopAsk>(&question.ask)) {
        decision = decide(batch, client, *stop);
    } else if (const auto* evidence = std::get_if<EvidenceAsk>(&question.ask)) {
        decision = decide(batch, client, *evidence);
    } else if (const auto* reanchor = std::get_if<ReanchorAsk>(&question.ask)) {
        if (batch.changed.contains(reanchor->vm)) return batch.later.push_back(question);
        decision = decide(batch, client, *reanchor);
    } else if (const auto* bundle = std::get_if<BundleAsk>(&question.ask)) {
        if (batch.changed.contains(bundle->bundle)) return batch.later.push_back(question);
        decision = decide(batch, client, *bundle, now);
    } else if (const auto* leaf = std::get_if<LeafAsk>(&question.ask)) {
        decision = leaf_of(*leaf);
    } else if (std::holds_alternative<QuoteAsk>(question.ask) ||
               std::holds_alternative<KeysAsk>(question.ask) ||
               std::holds_alternative<Challenge>(question.ask)) {
        batch.witnessed.push_back(question);
    } else if (std::holds_alternative<StatusAsk>(question.ask)) {
        decision = status();
    } else if (const auto* room = std::get_if<RoomAsk>(&question.ask)) {
        decision = Room{budget_.has_room(now) && (!room->strict || budget_.allows_checkpoint(now))};
    } else if (budget_.allows_checkpoint(now)) {
        batch.checkpoint = true;
        batch.waiting.push_back({.client = client, .answer = Committed{}});
    } else {
        decision = Denied{Denial::OverBudget};
    }
    if (decision) batch.replies.push_back({client, std::move(*decision)});
}

Clerk::Decision Clerk::decide(Batch& batch, ClientId client, const StartAsk& ask) {
    const Leaf* const old = anchor_.ledger().find(ask.vm);
    if (old == nullptr && anchor_.ledger().is_full()) return Denied{Denial::Full};
    // Of this vTPM, or another one on this connection.
    if (connected_.contains(ask.vm) || bindings_.contains(client)) return Denied{Denial::AlreadyRunning};
    if (old != nullptr && old->status != Status::Stopped && old->status != Status::Running) {
        return Denied{Denial::NotHere};
    }
    Leaf leaf = old != nullptr ? *old : Leaf{.vm = ask.vm, .tenant = ask.tenant};
    leaf.status = Status::Running;
    // A worker of an earlier instance that still lives somewhere is fenced out by this.
    leaf.instance = ask.instance;
    batch.changes.push_back(leaf);
    batch.changed.insert(leaf.vm);
    batch.waiting.push_back({.client = client, .answer = grant(leaf), .bind = Binding{ask.vm, ask.instance}});
    return {};
}

Clerk::Decision Clerk::decide(Batch& batch, ClientId client, const AttachAsk& ask) {
    const Leaf* const leaf = anchor_.ledger().find(ask.vm);
    if (leaf == nullptr) return Denied{Denial::UnknownVm};
    if (connected_.contains(ask.vm) || bindings_.contains(client)) return Denied{Denial::AlreadyRunning};
    if (leaf->status != Status::Running || leaf->instance != ask.instance) return Denied{Denial::NotYours};
    const State newest = state_of(*leaf);
    if (newest != ask.held && !(ask.pending && newest == *ask.pending)) return Denied{Denial::StateDiffers};
    batch.confirm = true;
    batch.changed.insert(ask.vm);
    batch.waiting.push_back(
        {.client = client, .answer = grant(*leaf), .bind = Binding{ask.vm, ask.instance}});
    return {};
}

Clerk::Decision Clerk::decide(Batch& batch, ClientId client, const CommitAsk& ask, Clock::time_point now) {
    if (!bindings_.contains(client)) return Denied{Denial::NotStarted};
    const Leaf* const old = bound_leaf(client);
    if (old == nullptr) return Denied{Denial::NotYours};
    // Without a digest, any version from the leaf's on may have been there (leaf.hpp).
    const bool follows =
        old->permanent == Digest{} ? ask.next.version > old->version : ask.next.version == old->version + 1;
    if (!follows || ask.next.permanent == Digest{}) return Denied{Denial::WrongVersion};
    if (!budget_.allows_commit(now) || !within_rate(old->vm, now)) return Denied{Denial::OverBudget};
    if (ask.strict && !budget_.allows_checkpoint(now)) return Denied{Denial::OverBudget};
    Leaf leaf = *old;
    leaf.version = ask.next.version;
    leaf.permanent = ask.next.permanent;
    leaf.volatile_state = ask.next.volatile_state;
    batch.changes.push_back(leaf);
    batch.changed.insert(leaf.vm);
    if (ask.strict) batch.strength = Strength::Strict;
    batch.waiting.push_back({.client = client, .answer = Committed{}});
    return {};
}

Clerk::Decision Clerk::decide(Batch& batch, ClientId client, const StopAsk&) {
    const Leaf* const old = bound_leaf(client);
    if (old == nullptr) return Denied{Denial::NotStarted};
    Leaf leaf = *old;
    leaf.status = Status::Stopped;
    leaf.instance = {};
    batch.changes.push_back(leaf);
    batch.changed.insert(leaf.vm);
    batch.waiting.push_back({.client = client, .answer = Committed{}, .unbind = true});
    return {};
}

Clerk::Decision Clerk::decide(Batch& batch, ClientId client, const EvidenceAsk& ask) {
    if (anchor_.ledger().find(ask.vm) == nullptr) return Denied{Denial::UnknownVm};
    batch.proofs.push_back({client, ask});
    return {};
}

/// Strictly: the mark that verifiers see must not be lost with the power.
Clerk::Decision Clerk::decide(Batch& batch, ClientId client, const ReanchorAsk& ask) {
    const Leaf* const old = anchor_.ledger().find(ask.vm);
    if (old == nullptr) return Denied{Denial::UnknownVm};
    if (connected_.contains(ask.vm)) return Denied{Denial::AlreadyRunning};
    if (old->status != Status::Stopped && old->status != Status::Running) return Denied{Denial::NotHere};
    if (ask.accepted.version == 0 || ask.accepted.permanent == Digest{}) return Denied{Denial::WrongVersion};
    const auto statement = reanchor_statement(anchor_name(), *old, ask.accepted);
    const bool agreed = old->tenant != Digest{} && sha256({ask.tenant_key}) == old->tenant &&
                        is_signed_by(ask.tenant_key, statement, ask.signature);
    if (!agreed) return Denied{Denial::NotSigned};
    batch.changes.push_back(reanchored(*old, ask.accepted));
    batch.changed.insert(ask.vm);
    batch.strength = Strength::Strict;
    batch.waiting.push_back({.client = client, .answer = Committed{}});
    return {};
}

/// Strictly: a power cut must not make an older one acceptable again.
Clerk::Decision Clerk::decide(Batch& batch, ClientId client, const BundleAsk& ask, Clock::time_point now) {
    const Leaf* const old = anchor_.ledger().find(ask.bundle);
    if (old == nullptr && anchor_.ledger().is_full()) return Denied{Denial::Full};
    if (old != nullptr && old->status != Status::Bundle) return Denied{Denial::NotHere};
    if (old != nullptr && ask.security_version < old->version) return Denied{Denial::OlderBundle};
    if (old != nullptr && ask.security_version == old->version) {
        batch.confirm = true;
    } else {
        if (!budget_.allows_checkpoint(now)) return Denied{Denial::OverBudget};
        Leaf leaf = old != nullptr ? *old : Leaf{.vm = ask.bundle, .status = Status::Bundle};
        leaf.version = ask.security_version;
        batch.changes.push_back(leaf);
        batch.strength = Strength::Strict;
    }
    batch.changed.insert(ask.bundle);
    batch.waiting.push_back({.client = client, .answer = Committed{}});
    return {};
}

Answer Clerk::leaf_of(const LeafAsk& ask) const {
    const Leaf* const leaf = anchor_.ledger().find(ask.vm);
    if (leaf == nullptr) return Denied{Denial::UnknownVm};
    return LeafAnswer{.leaf = *leaf, .anchor = anchor_name()};
}

Digest Clerk::anchor_name() const { return sha256({setup_.attestation_public}); }

// ---- The batch.

Result<std::vector<Clerk::Reply>> Clerk::settle(Clock::time_point now) {
    Batch batch;
    for (const Question& each : questions_) decide(batch, each, now);
    questions_ = std::move(batch.later);
    if (!batch.changes.empty() || batch.checkpoint) {
        if (batch.checkpoint) batch.strength = Strength::Strict;
        const Reading before = anchor_.counters();
        HF_TRY(anchor_.commit(batch.changes, batch.strength));
        const Reading& after = anchor_.counters();
        budget_.moved(after.o - before.o, after.s - before.s);
        commits_ += batch.changes.size();
        ++batches_;
        if (after.s != before.s) due_.reset();
        else if (!due_) due_ = now + kDirtyTime;
    } else if (batch.confirm) {
        // A commit would have shown it: whoever took over has changed the authValues.
        HF_TRY(anchor_.confirm());
    }
    for (Batch::Waiting& each : batch.waiting) {
        if (each.bind) bind(each.client, each.bind->vm, each.bind->instance);
        if (auto* committed = std::get_if<Committed>(&each.answer)) committed->o = anchor_.counters().o;
        if (each.unbind) client_gone(each.client);
        batch.replies.push_back({each.client, std::move(each.answer)});
    }
    HF_TRY(certify(batch));
    for (const Question& each : batch.witnessed) {
        batch.replies.push_back({each.client, HF_TRY(witness(each.ask))});
    }
    return std::move(batch.replies);
}

/// About the host, for its TPM to answer.
Result<Answer> Clerk::witness(const Ask& ask) {
    if (setup_.witness == nullptr) return Answer{Denied{Denial::NotForThisTpm}};
    Witness& tpm = *setup_.witness;
    if (const auto* quote = std::get_if<QuoteAsk>(&ask)) {
        QuoteAnswer answer{.quote = HF_TRY(tpm.quote(quote->about)),
                           .key = {setup_.attestation_public.begin(), setup_.attestation_public.end()}};
        return Answer{std::move(answer)};
    }
    if (const auto* challenge = std::get_if<Challenge>(&ask)) {
        auto credential = HF_TRY(tpm.activate(*challenge));
        if (!credential) return Answer{Denied{Denial::NotForThisTpm}};
        return Answer{Activated{std::move(*credential)}};
    }
    return Answer{HF_TRY(tpm.host_keys())};
}

/// All nonces of the batch, with one certificate of each counter. The counters stand still meanwhile.
Result<void> Clerk::certify(Batch& batch) {
    if (batch.proofs.empty()) return {};
    std::vector<Digest> nonces;
    for (const Batch::Proof& each : batch.proofs) nonces.push_back(each.ask.nonce);
    const NonceTree tree{nonces};
    const Reading& at = anchor_.counters();
    const Statement statement{.root = anchor_.ledger().root(),
                              .o = at.o,
                              .s = at.s,
                              .reset_count = at.reset_count,
                              .anchor = anchor_.instance(),
                              .software_tpm = setup_.software_tpm,
                              .nonces = tree.root()};
    const Certificate certificate = HF_TRY(setup_.counters.certify(sha256({encode(statement)})));
    for (std::uint32_t i = 0; i < batch.proofs.size(); ++i) {
        const VmId& vm = batch.proofs[i].ask.vm;
        const auto proof = HF_TRY(anchor_.ledger().prove(vm));
        const auto path = tree.path(i);
        batch.replies.push_back({batch.proofs[i].client, Evidence{encode(EvidenceParts{
                                                             .statement = statement,
                                                             .certificate = certificate,
                                                             .attestation_public = setup_.attestation_public,
                                                             .leaf = *anchor_.ledger().find(vm),
                                                             .proof = proof,
                                                             .nonce_index = i,
                                                             .nonce_path = path})}});
    }
    return {};
}

Result<void> Clerk::checkpoint_if_due(Clock::time_point now) {
    if (!due_ || now < *due_) return {};
    if (!budget_.allows_checkpoint(now)) {
        due_ = now + kDirtyTime;
        return {};
    }
    due_.reset();
    HF_TRY(anchor_.commit({}, Strength::Strict));
    budget_.moved(1, 1);
    return {};
}

StatusAnswer Clerk::status() const {
    const Reading& at = anchor_.counters();
    StatusAnswer answer{.o = at.o,
                        .s = at.s,
                        .reset_count = at.reset_count,
                        .adopted = anchor_.adopted(),
                        .software_tpm = setup_.software_tpm,
                        .commits = commits_,
                        .batches = batches_,
                        .flash_writes = setup_.wear.flash_writes(at),
                        .flash_writes_today = budget_.writes_today() + 2,
                        .daily_budget = setup_.daily_budget,
                        .made_at = setup_.wear.made_at,
                        .started_at = started_at_,
                        .root = anchor_.ledger().root()};
    for (const Leaf& leaf : anchor_.ledger().leaves()) {
        answer.vtpms += leaf.status == Status::Bundle ? 0 : 1;
        answer.running += leaf.status == Status::Running ? 1 : 0;
        answer.gaps += leaf.gaps > 0 ? 1 : 0;
        answer.reanchored += leaf.generation > 0 ? 1 : 0;
    }
    return answer;
}

}  // namespace holdfast::anchor
