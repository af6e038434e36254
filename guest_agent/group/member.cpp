// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/group/member.hpp"

#include <algorithm>

#include "guest_agent/crypto/aead.hpp"
#include "guest_agent/crypto/hpke.hpp"
#include "guest_agent/crypto/kdf.hpp"
#include "sys/wire/codec.hpp"
#include "sys/wire/endian.hpp"

namespace holdfast::agent::group {
namespace {

constexpr std::string_view kCommitBox = "holdfast group 1 commit secret";
constexpr std::string_view kWelcomeBox = "holdfast group 1 joiner secret";

Digest256 digest_of(Bytes bytes) { return hash_parts({bytes}); }

/// What one box of a commit is sealed for: everything that the commit says, and who it is for.
Digest256 box_context(const Commit& commit, MemberId to) {
    const Le<std::uint32_t> number{to};
    return hash_parts({head_of(commit), std::as_bytes(std::span{&number, 1})});
}

Result<Key> key_in(const Result<SecretBuffer>& opened) {
    if (!opened) return opened.error();
    if (opened->bytes().size() != kKeyBytes) return peer_fault("a box that holds no secret");
    Key key;
    std::ranges::copy(opened->bytes(), key.bytes().begin());
    return key;
}

std::vector<std::byte> signed_part(const Commit& commit) {
    std::vector<std::byte> bytes = content_of(commit);
    bytes.insert(bytes.end(), commit.confirmation.begin(), commit.confirmation.end());
    return bytes;
}

bool ascends(const std::vector<MemberId>& ids) {
    return std::ranges::adjacent_find(ids, std::greater_equal<>{}) == ids.end();
}

Result<std::vector<std::byte>> make_package(const GroupSettings& settings, const SigningKey& signing,
                                            const PublicBytes& init, const Digest256& made_for,
                                            const Evidence& evidence) {
    KeyPackage package{.name = settings.name, .signing = signing.shared, .init = init, .made_for = made_for};
    if (package.name.empty() || package.name.size() > kMaxMemberName) {
        return input_error("a member's name is empty or too long");
    }
    package.evidence = HF_TRY(evidence(evidence_binding(settings.group, package)));
    if (package.evidence.size() > kMaxEvidence)
        return input_error("this guest's evidence is longer than a group takes");
    package.signature = HF_TRY(sign(signing.secret, group::signed_part(package)));
    return encode(package);
}

Nonce nonce_of(std::uint64_t number) {
    Nonce nonce{};
    const Be<std::uint64_t> ordered{number};
    std::ranges::copy(std::as_bytes(std::span{&ordered, 1}), nonce.begin() + 4);
    return nonce;
}

std::vector<std::byte> about(const GroupMessage& message) {
    GroupMessage head = message;
    head.sealed.clear();
    return group::signed_part(head);
}

}  // namespace

Result<Applicant> Applicant::create(GroupSettings settings, const Digest256& transcript,
                                    const Evidence& evidence) {
    Applicant made{std::move(settings), HF_TRY(make_signing_key()), HF_TRY(make_agreement_key())};
    made.package_ =
        HF_TRY(make_package(made.settings_, made.signing_, made.init_.shared, transcript, evidence));
    return made;
}

Result<Member> Member::found(GroupSettings settings, const Evidence& evidence, Admission& admission,
                             EpochWitness& witness) {
    Member member{std::move(settings), HF_TRY(make_signing_key()), admission, witness};
    const GroupSettings& own = member.settings_;
    const AgreementKey unused = HF_TRY(make_agreement_key());
    const Digest256 transcript = first_transcript(own.group, own.policy);
    const auto package = HF_TRY(make_package(own, member.signing_, unused.shared, transcript, evidence));
    Next next{.roster = {}, .next_id = 2, .transcript = transcript, .keys = {}};
    // Who founds a group judges itself too: others will.
    next.roster.emplace(1, HF_TRY(member.admitted(package, &transcript, {})));
    next.keys = first_keys(own.group, transcript, hash_of(next.roster));
    member.id_ = 1;
    member.witnessed_ = HF_TRY(witness.value());
    HF_TRY(member.enter(std::move(next), 0));
    return member;
}

Result<Member> Member::join(Applicant applicant, Bytes welcome_bytes, Bytes commit_bytes,
                            Admission& admission, EpochWitness& witness) {
    const Welcome welcome = HF_TRY(decode_welcome(welcome_bytes));
    const Commit commit = HF_TRY(decode_commit(commit_bytes));
    Member member{std::move(applicant.settings_), std::move(applicant.signing_), admission, witness};
    if (commit.group != member.settings_.group) return peer_fault("a welcome to another group");
    if (welcome.policy != member.settings_.policy) return peer_fault("a welcome under another policy");
    for (const RosterEntry& entry : welcome.roster) {
        if (entry.id >= welcome.next_id ||
            (!member.roster_.empty() && entry.id <= member.roster_.rbegin()->first)) {
            return peer_fault("a roster out of order");
        }
        member.roster_.emplace(entry.id, HF_TRY(member.admitted(entry.package, nullptr, member.roster_)));
    }
    member.next_id_ = welcome.next_id;
    member.transcript_ = welcome.transcript;
    member.epoch_ = commit.epoch;
    Next next = HF_TRY(member.next_roster(commit));
    HF_TRY(member.expect_boxes(commit, next.roster));
    const auto own = std::ranges::find(commit.added, applicant.package_);
    if (own == commit.added.end()) return peer_fault("a welcome for somebody else");
    member.id_ = welcome.next_id + static_cast<MemberId>(own - commit.added.begin());
    const auto box = std::ranges::find(commit.boxes, member.id_, &Box::to);
    const Key joiner = HF_TRY(
        key_in(hpke::open(applicant.init_, text(kWelcomeBox), box_context(commit, member.id_), box->sealed)));
    member.derive(next, commit, joiner);
    if (!equal_constant_time(confirmation_of(next.keys, next.transcript), commit.confirmation)) {
        return peer_fault("a welcome that the group did not confirm");
    }
    member.witnessed_ = HF_TRY(witness.value());
    HF_TRY(member.enter(std::move(next), commit.epoch + 1));
    return member;
}

Result<Member::Peer> Member::admitted(Bytes bytes, const Digest256* made_for, const Roster& roster) const {
    const KeyPackage package = HF_TRY(decode_key_package(bytes));
    if (!is_signed(package.signing, group::signed_part(package), package.signature)) {
        return peer_fault("a key package that its key has not signed");
    }
    if (made_for && package.made_for != *made_for) return peer_fault("a key package of another moment");
    for (const auto& [id, peer] : roster) {
        if (peer.name == package.name || peer.signing == package.signing) {
            return peer_fault("a member that is there already");
        }
    }
    HF_TRY(admission_->judge(evidence_binding(settings_.group, package), package));
    return Peer{.name = package.name,
                .signing = package.signing,
                .package = {bytes.begin(), bytes.end()},
                .ready = std::nullopt};
}

Result<Member::Roster> Member::roster_after(const std::vector<MemberId>& removed,
                                            const std::vector<std::vector<std::byte>>& added) const {
    if (!ascends(removed)) return peer_fault("members to remove are out of order");
    Roster roster = roster_;
    for (const MemberId id : removed) {
        if (roster.erase(id) == 0) return peer_fault("nobody to remove");
    }
    if (roster.size() + added.size() > kMaxMembers)
        return peer_fault("a group has 64 members at most, and this would be one more");
    std::size_t bytes = 0;
    for (const auto& [id, peer] : roster) bytes += peer.package.size();
    for (const auto& package : added) bytes += package.size();
    // A welcome has them all, and must fit into what carries it.
    if (bytes > kMaxPackages) return peer_fault("the evidence of all members is more than a group can have");
    MemberId joining = next_id_;
    for (const auto& package : added) {
        roster.emplace(joining, HF_TRY(admitted(package, &transcript_, roster)));
        ++joining;
    }
    return roster;
}

Result<void> Member::admits(const std::vector<MemberId>& removed,
                            const std::vector<std::vector<std::byte>>& added) const {
    if (!keys_) return input_error("not a member");
    HF_TRY(roster_after(removed, added));
    return {};
}

/// Who is there after a commit, if it may say so.
Result<Member::Next> Member::next_roster(const Commit& commit) const {
    const auto committer = roster_.find(commit.committer);
    if (committer == roster_.end()) return peer_fault("a commit by nobody of the group");
    if (!is_signed(committer->second.signing, signed_part(commit), commit.signature)) {
        return peer_fault("a commit that its committer has not signed");
    }
    if (std::ranges::count(commit.removed, commit.committer) != 0)
        return peer_fault("a commit that removes its committer");
    return Next{.roster = HF_TRY(roster_after(commit.removed, commit.added)),
                .next_id = next_id_ + static_cast<MemberId>(commit.added.size()),
                .transcript = next_transcript(transcript_, content_of(commit)),
                .keys = {}};
}

/// One box for each who will be there, but for the committer: nobody is left out in silence.
Result<void> Member::expect_boxes(const Commit& commit, const Roster& roster) const {
    auto box = commit.boxes.begin();
    for (const auto& [id, peer] : roster) {
        if (id == commit.committer) continue;
        if (box == commit.boxes.end() || box->to != id)
            return peer_fault("a commit that leaves a member out");
        ++box;
    }
    if (box != commit.boxes.end()) return peer_fault("a commit with a box for nobody");
    return {};
}

void Member::derive(Next& next, const Commit& commit, const Key& joiner) const {
    next.keys = epoch_keys(joiner, settings_.group, commit.epoch + 1, next.transcript, hash_of(next.roster));
}

Digest256 Member::hash_of(const Roster& roster) {
    WireWriter writer;
    for (const auto& [id, peer] : roster) {
        writer.put(id);
        writer.put_bytes(digest_of(peer.package));
    }
    return digest_of(writer.bytes());
}

Result<CommitMessages> Member::commit(const std::vector<MemberId>& removed,
                                      const std::vector<std::vector<std::byte>>& added) {
    if (!keys_) return input_error("not a member");
    Commit commit{
        .group = settings_.group, .epoch = epoch_, .committer = id_, .removed = removed, .added = added};
    std::ranges::sort(commit.removed);
    Pending pending{.digest = {}, .secret = random_key()};
    Key joiner = joiner_secret(keys_->chain, pending.secret);

    // The roster is judged as a receiver would; for that the signature must be there, which covers the boxes.
    // So boxes first.
    MemberId joining = next_id_;
    for (const auto& [id, peer] : roster_) {
        if (id == id_ || std::ranges::binary_search(commit.removed, id)) continue;
        if (!peer.ready) return input_error("a member is not ready for the next epoch");
        commit.boxes.push_back(
            {.to = id,
             .sealed = HF_TRY(hpke::seal(*peer.ready, text(kCommitBox), box_context(commit, id),
                                         pending.secret.bytes()))});
    }
    for (const auto& bytes : commit.added) {
        const KeyPackage package = HF_TRY(decode_key_package(bytes));
        commit.boxes.push_back({.to = joining,
                                .sealed = HF_TRY(hpke::seal(package.init, text(kWelcomeBox),
                                                            box_context(commit, joining), joiner.bytes()))});
        ++joining;
    }
    commit.signature = HF_TRY(sign(signing_.secret, signed_part(commit)));
    Next next = HF_TRY(next_roster(commit));
    derive(next, commit, joiner);
    commit.confirmation = confirmation_of(next.keys, next.transcript);
    commit.signature = HF_TRY(sign(signing_.secret, signed_part(commit)));

    Welcome welcome{.transcript = transcript_, .next_id = next_id_, .policy = settings_.policy, .roster = {}};
    for (const auto& [id, peer] : roster_) welcome.roster.push_back({.id = id, .package = peer.package});
    CommitMessages messages{.commit = encode(commit), .welcome = encode(welcome)};
    pending.digest = digest_of(messages.commit);
    pending_ = std::move(pending);
    return messages;
}

Result<Key> Member::commit_secret(const Commit& commit, const Digest256& digest) {
    if (commit.committer == id_) {
        if (!pending_ || pending_->digest != digest)
            return peer_fault("a commit of ours that we did not make");
        return pending_->secret.copy();
    }
    const auto box = std::ranges::find(commit.boxes, id_, &Box::to);
    if (box == commit.boxes.end() || !receiving_) return peer_fault("a commit that leaves us out");
    return key_in(hpke::open(*receiving_, text(kCommitBox), box_context(commit, id_), box->sealed));
}

Result<Outcome> Member::receive_commit(Bytes message) {
    const Commit commit = HF_TRY(decode_commit(message));
    if (commit.group != settings_.group || commit.epoch != epoch_) return Outcome::NotNow;
    Next next = HF_TRY(next_roster(commit));
    HF_TRY(expect_boxes(commit, next.roster));
    if (!next.roster.contains(id_)) {
        // Its confirmation cannot be checked by who is removed; its signature was.
        leave();
        return Outcome::Removed;
    }
    const Key secret = HF_TRY(commit_secret(commit, digest_of(message)));
    derive(next, commit, joiner_secret(keys_->chain, secret));
    if (!equal_constant_time(confirmation_of(next.keys, next.transcript), commit.confirmation)) {
        return peer_fault("a commit that does not confirm: its sender has another view of the group");
    }
    HF_TRY(enter(std::move(next), commit.epoch + 1));
    return Outcome::NewEpoch;
}

/// From here on the last epoch's secrets are gone. A witness that says otherwise than we remember: this
/// memory was put back from an earlier time, and what it would do now it may have done already.
Result<void> Member::enter(Next next, std::uint64_t epoch) {
    const auto counted = HF_TRY(witness_->advance());
    if (counted != witnessed_ + 1) {
        leave();
        return peer_fault("the witness has seen more epochs than this member: a state that was put back");
    }
    witnessed_ = counted;
    keys_ = std::move(next.keys);
    roster_ = std::move(next.roster);
    next_id_ = next.next_id;
    transcript_ = next.transcript;
    epoch_ = epoch;
    pending_.reset();
    next_message_ = 0;
    for (auto& [id, peer] : roster_) {
        peer.ready.reset();
        peer.next_message = 0;
    }
    return be_ready();
}

Result<void> Member::be_ready() {
    receiving_ = HF_TRY(make_agreement_key());
    Ready ready{.group = settings_.group,
                .epoch = epoch_,
                .from = id_,
                .transcript = transcript_,
                .key = receiving_->shared};
    ready.signature = HF_TRY(sign(signing_.secret, group::signed_part(ready)));
    ready_ = encode(ready);
    return {};
}

void Member::leave() noexcept {
    keys_.reset();
    receiving_.reset();
    pending_.reset();
    signing_.secret.wipe();
    ready_.clear();
}

Result<Outcome> Member::receive_ready(Bytes message) {
    const Ready ready = HF_TRY(decode_ready(message));
    if (ready.group != settings_.group || ready.epoch != epoch_ || ready.from == id_) return Outcome::NotNow;
    const auto peer = roster_.find(ready.from);
    if (peer == roster_.end()) return peer_fault("ready is somebody who is no member");
    if (!is_signed(peer->second.signing, group::signed_part(ready), ready.signature)) {
        return peer_fault("a ready that its sender has not signed");
    }
    if (ready.transcript != transcript_) {
        return peer_fault("a member has another history of the group: the carrier has split it");
    }
    if (peer->second.ready) return Outcome::NotNow;
    peer->second.ready = ready.key;
    return Outcome::Noted;
}

Result<Outcome> Member::receive(Bytes message) {
    if (!keys_) return input_error("not a member");
    return is_a(MessageKind::Ready, message) ? receive_ready(message) : receive_commit(message);
}

Result<std::vector<std::byte>> Member::renewal(std::vector<std::byte> evidence) const {
    if (!keys_) return input_error("not a member");
    Renewal renewal{.group = settings_.group, .epoch = epoch_, .from = id_, .evidence = std::move(evidence)};
    renewal.signature = HF_TRY(sign(signing_.secret, group::signed_part(renewal)));
    return encode(renewal);
}

Result<bool> Member::judge_renewal(MemberId from, Bytes message) {
    const Renewal renewal = HF_TRY(decode_renewal(message));
    const auto peer = roster_.find(from);
    if (!keys_ || peer == roster_.end()) return peer_fault("evidence of nobody in the group");
    const bool is_its = renewal.group == settings_.group && renewal.epoch == epoch_ && renewal.from == from &&
                        is_signed(peer->second.signing, group::signed_part(renewal), renewal.signature);
    if (!is_its) return peer_fault("evidence that this member has not shown in this epoch");
    const KeyPackage shown{
        .name = peer->second.name, .signing = peer->second.signing, .evidence = renewal.evidence};
    const Digest256 binding = group::renewal_binding(settings_.group, transcript_, shown.name, shown.signing);
    return admission_->judge(binding, shown).has_value();
}

Result<Key> Member::export_key(std::string_view label) const {
    if (!keys_) return input_error("not a member");
    return hkdf_expand_key(keys_->exports, {text("holdfast group export 1"), text(label)});
}

Result<std::vector<std::byte>> Member::seal(Bytes plain) {
    if (!keys_) return input_error("not a member");
    if (plain.size() > kMaxMessage) return input_error("a message is too long");
    GroupMessage message{
        .group = settings_.group, .epoch = epoch_, .from = id_, .number = next_message_, .sealed = {}};
    Aead aead = HF_TRY(Aead::create(message_key(*keys_, id_)));
    std::vector<std::byte> sealed(plain.size() + kTagBytes);
    HF_TRY(aead.seal(nonce_of(next_message_), about(message), plain, sealed));
    message.sealed = std::move(sealed);
    message.signature = HF_TRY(sign(signing_.secret, group::signed_part(message)));
    ++next_message_;
    return encode(message);
}

Result<Opened> Member::open(Bytes bytes) {
    if (!keys_) return input_error("not a member");
    const GroupMessage message = HF_TRY(decode_group_message(bytes));
    if (message.group != settings_.group || message.epoch != epoch_)
        return peer_fault("a message of another epoch");
    const auto peer = roster_.find(message.from);
    if (peer == roster_.end() || message.from == id_)
        return peer_fault("a message of nobody else in the group");
    if (message.number < peer->second.next_message) return peer_fault("a message that came before");
    // By the sender's own key: who has the group's keys still cannot speak for another member.
    if (!is_signed(peer->second.signing, group::signed_part(message), message.signature)) {
        return peer_fault("a message that its sender has not signed");
    }
    if (message.sealed.size() < kTagBytes) return peer_fault("a message is too short");
    Opened opened{.from = message.from,
                  .skipped = message.number - peer->second.next_message,
                  .plain = SecretBuffer{message.sealed.size() - kTagBytes}};
    Aead aead = HF_TRY(Aead::create(message_key(*keys_, message.from)));
    HF_TRY(aead.open(nonce_of(message.number), about(message), message.sealed, opened.plain.bytes()));
    peer->second.next_message = message.number + 1;
    return opened;
}

std::map<MemberId, std::string> Member::members() const {
    std::map<MemberId, std::string> names;
    for (const auto& [id, peer] : roster_) names.emplace(id, peer.name);
    return names;
}

std::vector<MemberId> Member::missing() const {
    std::vector<MemberId> ids;
    for (const auto& [id, peer] : roster_) {
        if (id != id_ && !peer.ready) ids.push_back(id);
    }
    return ids;
}

}  // namespace holdfast::agent::group
