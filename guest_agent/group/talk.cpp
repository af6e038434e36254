// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/group/talk.hpp"

#include <algorithm>

namespace holdfast::agent::group {
namespace {

/// Messages of one epoch, all members together: their carrier keeps them until all have entered the next one,
/// and keeps so many blobs at most (cli/agent_serve.cpp: 1024, of two epochs).
constexpr std::size_t kMessagesOfEpoch = 400;

}  // namespace

Talk::Talk(Member member, Pace pace, Moment shown, Moment now)
    : member_{std::move(member)}, pace_{pace}, now_{now}, shown_{shown}, epoch_since_{now} {
    for (auto& [id, name] : member_.members()) {
        if (id != member_.id()) peers_.emplace(id, Peer{.name = name, .shown = now, .commit = std::nullopt});
    }
    posts_.push_back({.epoch = epoch(), .message = member_.ready()});
}

Result<void> Talk::post_sealed(std::byte kind, Bytes line) {
    SecretBuffer plain{line.size() + 1};
    plain.bytes().front() = kind;
    std::ranges::copy(line, plain.bytes().begin() + 1);
    posts_.push_back({.epoch = epoch(), .message = HF_TRY(member_.seal(plain.bytes()))});
    ++posted_;
    return {};
}

Result<void> Talk::say_goodbye() {
    HF_TRY(post_sealed(kGoodbye, {}));
    is_over_ = true;
    return {};
}

Talk::Peers::iterator Talk::find(std::string_view name) {
    return std::ranges::find(peers_, name,
                             [](const auto& peer) { return std::string_view{peer.second.name}; });
}

bool Talk::hears(std::string_view name) const {
    return std::ranges::any_of(
        peers_, [name](const auto& peer) { return peer.second.name == name && !peer.second.commit; });
}

std::vector<std::string> Talk::others() const {
    std::vector<std::string> names;
    for (const auto& [id, peer] : peers_) names.push_back(peer.name);
    return names;
}

std::vector<std::vector<std::byte>> Talk::packages() const {
    std::vector<std::vector<std::byte>> packages;
    for (const auto& [name, knock] : applicants_) packages.push_back(knock.package);
    return packages;
}

/// Who is there keeps its place: somebody else of its name waits until it is gone, or was left out.
bool Talk::is_open_to(std::string_view name) const {
    if (!may_say() || !is_first() || applicants_.contains(name)) return false;
    return std::ranges::none_of(member_.members(), [this, name](const auto& member) {
        return member.second == name && !gone_.contains(member.first);
    });
}

Result<void> Talk::knock(std::string_view name, Bytes package, Moment now) {
    if (!is_open_to(name)) return input_error("this guest lets nobody of that name in now");
    if (HF_TRY(decode_key_package(package)).name != name) return peer_fault("a key package of another name");
    auto added = packages();
    added.emplace_back(package.begin(), package.end());
    HF_TRY(member_.admits({gone_.begin(), gone_.end()}, added));
    applicants_.emplace(name, Knock{.package = std::move(added.back()), .heard = now});
    return {};
}

bool Talk::is_ready(MemberId id) const { return std::ranges::count(member_.missing(), id) == 0; }

bool Talk::have_all_entered() const {
    return std::ranges::all_of(peers_, [this](const auto& peer) { return is_ready(peer.first); });
}

Result<std::optional<Talk::Event>> Talk::hear(std::string_view name, Bytes message, Moment now) {
    HF_TRY(expect_fresh_evidence(now));
    const auto peer = find(name);
    if (peer == peers_.end()) return peer_fault("a message of nobody else in the group");
    if (is_a(MessageKind::Message, message) && !peer->second.is_closed) return open(peer, message, now);
    if (is_a(MessageKind::Renewal, message)) {
        if (!HF_TRY(member_.judge_renewal(peer->first, message))) peer->second.is_refused = true;
        // It was not there at the last turn; how long it has been there since, nobody knows.
        peer->second.shown = now_;
        return std::nullopt;
    }
    HF_TRY(hear_control(peer->second, message));
    return std::nullopt;
}

Result<std::optional<Talk::Event>> Talk::open(Peers::iterator peer, Bytes message, Moment now) {
    const Opened opened = HF_TRY(member_.open(message));
    // What one member has posted is no word of another.
    if (opened.from != peer->first) return peer_fault("a message of another member than it is said to be of");
    if (opened.skipped != 0) return peer_fault("the carrier has left out messages of a member");
    if (opened.plain.bytes().empty()) return peer_fault("a message that says nothing");
    const Bytes rest = opened.plain.bytes().subspan(1);
    switch (opened.plain.bytes().front()) {
        case kLine: {
            // Whatever it shows later, this is lost, and so it cannot stay.
            if (has_expired(peer->second, now)) {
                peer->second.is_refused = true;
                return std::nullopt;
            }
            // Who reads lines would take what is behind it for another member's.
            if (std::ranges::find(rest, std::byte{'\n'}) != rest.end())
                return peer_fault("a line that has a line's end in it");
            SecretBuffer line{rest.size()};
            std::ranges::copy(rest, line.bytes().begin());
            return Event{.kind = Kind::Line, .name = peer->second.name, .line = std::move(line)};
        }
        case kClose: peer->second.is_closed = true; return std::nullopt;
        case kGoodbye: {
            Event event{.kind = Kind::Left, .name = peer->second.name, .line = {}};
            gone_.insert(peer->first);
            peers_.erase(peer);
            return event;
        }
        default: return peer_fault("a message of a kind that is not known");
    }
}

/// A ready, or a commit, which waits until all have closed who stay.
Result<void> Talk::hear_control(Peer& peer, Bytes message) {
    if (!is_a(MessageKind::Commit, message)) {
        HF_TRY(member_.receive(message));
        return {};
    }
    if (!peer.is_closed) return peer_fault("a commit of a member that has not closed the epoch");
    peer.commit.emplace(message.begin(), message.end());
    return {};
}

/// The commit that ends this epoch, once all who will be in the next one have closed. Who will not be may
/// have said goodbye, and we have not read on to it: that is waited for as long as for somebody silent. Where
/// several commits were made, that of the first in the roster.
std::optional<std::vector<std::byte>> Talk::due_commit() const {
    std::map<MemberId, const std::vector<std::byte>*> made;
    if (own_commit_) made.emplace(member_.id(), &own_commit_->commit);
    for (const auto& [id, peer] : peers_) {
        if (peer.commit && !has_expired(peer)) made.emplace(id, &*peer.commit);
    }
    const bool is_patient = is_closed_ && now_ - closed_since_ <= pace_.patience;
    for (const auto& [id, bytes] : made) {
        const auto commit = decode_commit(*bytes);
        if (!commit || commit->epoch != member_.epoch()) continue;
        const bool have_closed = std::ranges::all_of(peers_, [&](const auto& peer) {
            if (peer.second.is_closed) return true;
            return std::ranges::binary_search(commit->removed, peer.first) &&
                   (!is_patient || has_expired(peer.second));
        });
        if (have_closed) return *bytes;
    }
    return std::nullopt;
}

/// Who has come and who is gone by the commit that was just entered. `knocks`: of whom we have let in.
std::vector<Talk::Event> Talk::meet_roster(const Knocks& knocks) {
    std::vector<Event> events;
    const auto members = member_.members();
    std::erase_if(peers_, [&](const auto& peer) {
        if (members.contains(peer.first)) return false;
        events.push_back({.kind = Kind::LeftOut, .name = peer.second.name, .line = {}});
        return true;
    });
    for (const auto& [id, name] : members) {
        if (id == member_.id() || peers_.contains(id)) continue;
        const auto knock = knocks.find(name);
        const Moment shown = knock == knocks.end() ? now_ : knock->second.heard;
        peers_.emplace(id, Peer{.name = name, .shown = shown, .commit = std::nullopt});
        events.push_back({.kind = Kind::Joined, .name = name, .line = {}});
    }
    return events;
}

Result<std::vector<Talk::Event>> Talk::enter(Bytes commit, Moment now) {
    const Outcome outcome = HF_TRY(member_.receive(commit));
    if (outcome == Outcome::Removed) {
        is_over_ = true;
        return peer_fault("the others have left this guest out of the group: for longer than their patience "
                          "they have heard nothing of it");
    }
    if (outcome != Outcome::NewEpoch) return peer_fault("a commit that begins no epoch");
    const auto members = member_.members();
    if (std::ranges::any_of(peers_,
                            [&](const auto& p) { return p.second.is_refused && members.contains(p.first); }))
        return peer_fault("the others keep a member whose evidence this guest does not accept");
    if (own_commit_ && !applicants_.empty() && std::ranges::equal(own_commit_->commit, commit))
        invitation_ = Invitation{.packages = packages(), .messages = std::move(*own_commit_)};
    own_commit_.reset();
    const Knocks knocks = std::exchange(applicants_, {});
    posts_.push_back({.epoch = epoch(), .message = member_.ready()});
    posted_ = 0;
    is_closed_ = false;
    epoch_since_ = now;
    gone_.clear();
    for (auto& [id, peer] : peers_) {
        peer.is_closed = false;
        peer.commit.reset();
    }
    return meet_roster(knocks);
}

Result<void> Talk::renew(std::vector<std::byte> evidence) {
    posts_.push_back({.epoch = epoch(), .message = HF_TRY(member_.renewal(std::move(evidence)))});
    shown_ = now_;
    return {};
}

/// Who commits leaves out whose evidence has expired by its clock, which its host makes; this is ours.
Result<void> Talk::expect_fresh_evidence(Moment now) const {
    if (now < now_)
        return input_error("this guest's clock was set back: it does not tell how old evidence is");
    const auto is_old = [this, now](const auto& peer) {
        return now - peer.second.shown >= pace_.renewal + 2 * pace_.grace;
    };
    if (std::ranges::any_of(peers_, is_old))
        return peer_fault("a member has not shown evidence again, and the others do not leave it out");
    return {};
}

Result<void> Talk::close_if_due(Moment now) {
    const bool does_one_join = !applicants_.empty();
    if (is_closed_ || (is_alone() && !does_one_join)) return {};
    const bool is_late = now - epoch_since_ >= pace_.rotation;
    const bool is_much = posted_ * (peers_.size() + 1) >= kMessagesOfEpoch;
    const bool does_another = std::ranges::any_of(
        peers_, [this](const auto& peer) { return peer.second.is_closed || has_expired(peer.second); });
    if (!is_late && !is_much && !does_another && !does_one_join && gone_.empty()) return {};
    HF_TRY(post_sealed(kClose, {}));
    is_closed_ = true;
    closed_since_ = now;
    return {};
}

Result<void> Talk::commit_if_due(Moment now) {
    if (!is_closed_ || own_commit_) return {};
    const auto rank = std::ranges::count_if(
        peers_, [this](const auto& p) { return p.first < member_.id() && !has_expired(p.second); });
    const auto waited = now - closed_since_;
    // Somebody else has committed, and who is to be there too has not closed: only the carrier can do that.
    if (waited > pace_.patience * (peers_.size() + 3)) {
        return peer_fault("the group does not go on: its carrier keeps messages back");
    }
    if (std::ranges::any_of(peers_,
                            [this](const auto& p) { return p.second.commit && !has_expired(p.second); }))
        return {};
    std::vector<MemberId> leaving{gone_.begin(), gone_.end()};
    for (const auto& [id, peer] : peers_) {
        if (has_expired(peer)) leaving.push_back(id);
    }
    const std::size_t known = leaving.size();
    const auto stays = [this, rank](const auto& peer) {
        return peer.second.is_closed && is_ready(peer.first) && (rank == 0 || peer.first > member_.id());
    };
    for (const auto& peer : peers_) {
        if (!stays(peer) && !has_expired(peer.second)) leaving.push_back(peer.first);
    }
    const bool is_all_well = rank == 0 && leaving.size() == known;
    if (!is_all_well && waited <= pace_.patience * (rank + 1)) return {};
    own_commit_ = HF_TRY(member_.commit(leaving, packages()));
    posts_.push_back({.epoch = epoch(), .message = own_commit_->commit});
    return {};
}

Result<std::vector<Talk::Event>> Talk::turn(Moment now) {
    std::vector<Event> events;
    if (is_over_) return events;
    HF_TRY(expect_fresh_evidence(now));
    now_ = now;
    if (const auto commit = due_commit()) events = HF_TRY(enter(*commit, now));
    HF_TRY(close_if_due(now));
    HF_TRY(commit_if_due(now));
    return events;
}

}  // namespace holdfast::agent::group
