// SPDX-License-Identifier: Apache-2.0
// A group while it lives: lines from each to all, a new epoch on a timer, after many messages, when somebody
// goes and when somebody comes, and no waiting for ever for somebody who is silent.
//
// Each member's messages of one epoch are read in the order in which it posted them; nobody orders those of
// different members. So an epoch ends in four steps: each member says that it closes (as soon as its timer is
// due or another one closes) and says nothing behind that but a commit; the first in the roster that has
// heard all others close commits; each that has heard all close who stay enters the next epoch; and says
// there that it is ready. No line falls between two epochs. Who has not closed within the patience of the
// others is left out by the commit; where the one who should commit does not, the next one in the roster
// does. Two commits for one epoch split the group, which the members' readies show.
//
// Each shows evidence again on a timer. Who does not, or shows what is not accepted, is left out likewise,
// and is not listened to until then. A guest that stood still meanwhile holds that against the others as
// well: it cannot know what has become of them.
//
// Whoever is first in the roster lets others in: it judges who asks, ends the epoch, and its commit adds
// them, whom the others then judge too. One whom such a commit adds and who is not accepted there ends the
// talk of the member that does not accept it.
#pragma once

#include "guest_agent/group/member.hpp"
#include "guest_agent/group/pace.hpp"
#include "sys/boot_clock.hpp"

namespace holdfast::agent::group {

/// One thread. After an error nothing more is said or heard.
class Talk {
public:
    using Moment = BootClock::time_point;
    enum class Kind : std::uint8_t { Line, Joined, Left, LeftOut };
    struct Event {
        Kind kind;
        std::string name;
        SecretBuffer line;  ///< with Line
    };
    struct Post {
        std::uint64_t epoch;
        std::vector<std::byte> message;
    };
    /// What those need who have joined by a commit of ours.
    struct Invitation {
        std::vector<std::vector<std::byte>> packages;
        CommitMessages messages;
    };

    /// `shown`: when our evidence was made.
    Talk(Member member, Pace pace, Moment shown, Moment now);

    /// Whether lines may be said now: while an epoch ends, and after a goodbye, not.
    [[nodiscard]] bool may_say() const noexcept { return !is_closed_ && !is_over_; }
    Result<void> say(Bytes line) { return post_sealed(kLine, line); }
    /// So that nobody waits for us. Only while may_say().
    Result<void> say_goodbye();

    /// Whether to read on in what that member has posted in this epoch.
    [[nodiscard]] bool hears(std::string_view name) const;
    /// Its next message, which is there now.
    Result<std::optional<Event>> hear(std::string_view name, Bytes message, Moment now);
    /// Whether we are to look for a key package of that name: it may join, and we are the one who lets it in.
    [[nodiscard]] bool is_open_to(std::string_view name) const;
    /// Its key package, made for our standing() and found now: it joins when this epoch ends, which it does
    /// at the next turn. An error: it does not, and nothing has changed.
    Result<void> knock(std::string_view name, Bytes package, Moment now);
    /// Who has knocked and is not in yet.
    [[nodiscard]] std::size_t applicants() const noexcept { return applicants_.size(); }
    /// Whether it is time to show evidence again, for renewal_binding().
    [[nodiscard]] bool is_renewal_due() const {
        return may_say() && !is_alone() && now_ - shown_ >= pace_.renewal;
    }
    [[nodiscard]] Digest256 renewal_binding() const { return member_.renewal_binding(); }
    Result<void> renew(std::vector<std::byte> evidence);
    /// After all that there was to hear was heard. Who has joined and who was left out: here.
    Result<std::vector<Event>> turn(Moment now);
    /// What there is to post since the last call, in order.
    [[nodiscard]] std::vector<Post> take_posts() { return std::exchange(posts_, {}); }
    /// Once, in the epoch in which they have joined.
    [[nodiscard]] std::optional<Invitation> take_invitation() { return std::exchange(invitation_, {}); }

    [[nodiscard]] std::uint64_t epoch() const noexcept { return member_.epoch(); }
    [[nodiscard]] Standing standing() const { return {member_.epoch(), member_.transcript()}; }
    /// All are in this epoch: nobody needs what was posted in those before.
    [[nodiscard]] bool have_all_entered() const;
    [[nodiscard]] bool is_alone() const noexcept { return peers_.empty(); }
    /// Before all others in the roster.
    [[nodiscard]] bool is_first() const { return is_alone() || member_.id() < peers_.begin()->first; }
    /// Who is there beside us.
    [[nodiscard]] std::vector<std::string> others() const;

private:
    static constexpr std::byte kLine{1};
    static constexpr std::byte kClose{2};
    static constexpr std::byte kGoodbye{3};
    struct Peer {
        std::string name;
        Moment shown;                                  ///< its evidence, the last time
        bool is_refused = false;                       ///< what it has shown then
        bool is_closed = false;                        ///< has said all of this epoch
        std::optional<std::vector<std::byte>> commit;  ///< its, behind that
    };
    using Peers = std::map<MemberId, Peer>;
    struct Knock {
        std::vector<std::byte> package;
        Moment heard;
    };
    using Knocks = std::map<std::string, Knock, std::less<>>;

    Result<void> post_sealed(std::byte kind, Bytes line);
    [[nodiscard]] Peers::iterator find(std::string_view name);
    Result<std::optional<Event>> open(Peers::iterator peer, Bytes message, Moment now);
    Result<void> hear_control(Peer& peer, Bytes message);
    [[nodiscard]] std::optional<std::vector<std::byte>> due_commit() const;
    Result<std::vector<Event>> enter(Bytes commit, Moment now);
    [[nodiscard]] std::vector<Event> meet_roster(const Knocks& knocks);
    [[nodiscard]] std::vector<std::vector<std::byte>> packages() const;
    [[nodiscard]] bool is_ready(MemberId id) const;
    [[nodiscard]] bool has_expired(const Peer& peer, Moment now) const {
        return peer.is_refused || now - peer.shown >= pace_.renewal + pace_.grace;
    }
    [[nodiscard]] bool has_expired(const Peer& peer) const { return has_expired(peer, now_); }
    [[nodiscard]] Result<void> expect_fresh_evidence(Moment now) const;
    Result<void> close_if_due(Moment now);
    Result<void> commit_if_due(Moment now);

    Member member_;
    Pace pace_;
    Peers peers_;              ///< who is there and has not said goodbye
    std::set<MemberId> gone_;  ///< who has, and is in the roster until the next commit
    Knocks applicants_;        ///< by name
    std::optional<Invitation> invitation_;
    std::vector<Post> posts_;
    std::size_t posted_ = 0;  ///< in this epoch
    std::optional<CommitMessages> own_commit_;
    bool is_closed_ = false;
    bool is_over_ = false;
    Moment now_;    ///< of the last turn
    Moment shown_;  ///< our evidence, the last time
    Moment epoch_since_;
    Moment closed_since_{};
};

}  // namespace holdfast::agent::group
