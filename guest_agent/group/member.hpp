// SPDX-License-Identifier: Apache-2.0
// One member of a group of guests that do not trust each other or who carries their messages. Members agree
// on a fresh secret each epoch; whoever was removed learns none after, and who steals all memory of a member
// learns none before. docs/agent.md, "Groups", has the protocol, what it assumes and what it does not do.
//
// State lives in memory only: a guest that restarts joins again, and one whose memory was put back is found
// by its EpochWitness.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>

#include "guest_agent/group/schedule.hpp"

namespace holdfast::agent::group {

/// A member's own policy on who may be beside it. Each member asks its own, of each who is there or joins.
class Admission {
public:
    Admission() = default;
    Admission(const Admission&) = delete;
    Admission& operator=(const Admission&) = delete;
    virtual ~Admission() = default;
    /// Whether the package's evidence is bound to `binding` and is what this member accepts.
    virtual Result<void> judge(const Digest256& binding, const KeyPackage& package) = 0;
};

/// A counter that nobody can set back: of the vTPM (keystore), or in memory where there is none, and then
/// memory that is put back is not noticed.
class EpochWitness {
public:
    EpochWitness() = default;
    EpochWitness(const EpochWitness&) = delete;
    EpochWitness& operator=(const EpochWitness&) = delete;
    virtual ~EpochWitness() = default;
    virtual Result<std::uint64_t> value() = 0;
    /// Counts on, and returns the new value.
    virtual Result<std::uint64_t> advance() = 0;
};

struct GroupSettings {
    GroupId group{};
    Digest256 policy{};  ///< hash of the policy that all must name; of the group for ever
    std::string name;    ///< of this guest
};

/// Makes evidence for a binding.
using Evidence = std::function<Result<std::vector<std::byte>>(const Digest256& binding)>;

/// Somebody who wants to join, until the welcome.
class Applicant {
public:
    /// `transcript`: of the group as it is now, from any member; a wrong one only makes the group refuse.
    static Result<Applicant> create(GroupSettings settings, const Digest256& transcript,
                                    const Evidence& evidence);
    [[nodiscard]] const std::vector<std::byte>& package() const noexcept { return package_; }

private:
    friend class Member;
    Applicant(GroupSettings settings, SigningKey signing, AgreementKey init) noexcept
        : settings_{std::move(settings)}, signing_{std::move(signing)}, init_{std::move(init)} {}
    GroupSettings settings_;
    SigningKey signing_;
    AgreementKey init_;
    std::vector<std::byte> package_;
};

enum class Outcome : std::uint8_t {
    NewEpoch,  ///< a commit was applied
    Noted,     ///< a member is ready
    NotNow,    ///< of another epoch, or known: nothing changed
    Removed,   ///< we are no member any more; all keys are gone
};

struct CommitMessages {
    std::vector<std::byte> commit;   ///< to all
    std::vector<std::byte> welcome;  ///< to those who join, with the commit
};

struct Opened {
    MemberId from = 0;
    std::uint64_t skipped =
        0;  ///< messages of this sender that have not come, and will not be taken any more
    SecretBuffer plain;
};

/// One thread. `admission` and `witness` outlive it. What fails has changed nothing, unless it says so.
class Member {
public:
    /// A group of one.
    static Result<Member> found(GroupSettings settings, const Evidence& evidence, Admission& admission,
                                EpochWitness& witness);
    /// Judges every member by `admission`. The applicant's keys are gone afterwards, whatever the result.
    static Result<Member> join(Applicant applicant, Bytes welcome, Bytes commit, Admission& admission,
                               EpochWitness& witness);

    /// To send to all, and again for whom it did not reach: the same bytes for the whole epoch.
    [[nodiscard]] const std::vector<std::byte>& ready() const noexcept { return ready_; }
    /// Proposes the next epoch. It begins, for us too, when the carrier delivers the commit; the first commit
    /// that it delivers counts, and another of ours is forgotten. Members that stay must be ready
    /// (missing()).
    Result<CommitMessages> commit(const std::vector<MemberId>& removed,
                                  const std::vector<std::vector<std::byte>>& added);
    /// Whether a commit of ours could remove and add those: each of `added` is judged as a receiver would.
    Result<void> admits(const std::vector<MemberId>& removed,
                        const std::vector<std::vector<std::byte>>& added) const;
    /// A commit or a ready, from anybody.
    Result<Outcome> receive(Bytes message);

    /// What evidence that is shown again in this epoch must be bound to, and the message that shows it to
    /// all.
    [[nodiscard]] Digest256 renewal_binding() const {
        return group::renewal_binding(settings_.group, transcript_, settings_.name, signing_.shared);
    }
    Result<std::vector<std::byte>> renewal(std::vector<std::byte> evidence) const;
    /// Such a message of that member. False: its evidence is not accepted. An error: it is not what that
    /// member says in this epoch.
    Result<bool> judge_renewal(MemberId from, Bytes message);

    /// A key that all members of this epoch have. Different for each label.
    Result<Key> export_key(std::string_view label) const;
    Result<std::vector<std::byte>> seal(Bytes plain);
    Result<Opened> open(Bytes message);

    [[nodiscard]] bool is_member() const noexcept { return keys_.has_value(); }
    [[nodiscard]] std::uint64_t epoch() const noexcept { return epoch_; }
    [[nodiscard]] MemberId id() const noexcept { return id_; }
    [[nodiscard]] const Digest256& transcript() const noexcept { return transcript_; }
    [[nodiscard]] std::map<MemberId, std::string> members() const;
    /// Who has not said that it is ready for the next commit. Never ourselves.
    [[nodiscard]] std::vector<MemberId> missing() const;

private:
    friend struct MemberProbe;  ///< tests play the thief
    struct Peer {
        std::string name;
        PublicBytes signing{};
        std::vector<std::byte> package;
        std::optional<PublicBytes> ready;  ///< for this epoch
        std::uint64_t next_message = 0;
    };
    using Roster = std::map<MemberId, Peer>;
    struct Pending {
        Digest256 digest{};  ///< of the commit
        Key secret;
    };
    /// An epoch that is not entered yet.
    struct Next {
        Roster roster;
        MemberId next_id = 0;
        Digest256 transcript{};
        EpochKeys keys;
    };

    Member(GroupSettings settings, SigningKey signing, Admission& admission, EpochWitness& witness) noexcept
        : settings_{std::move(settings)},
          signing_{std::move(signing)},
          admission_{&admission},
          witness_{&witness} {}

    Result<Peer> admitted(Bytes package, const Digest256* made_for, const Roster& roster) const;
    Result<Roster> roster_after(const std::vector<MemberId>& removed,
                                const std::vector<std::vector<std::byte>>& added) const;
    Result<Next> next_roster(const Commit& commit) const;
    Result<void> expect_boxes(const Commit& commit, const Roster& roster) const;
    void derive(Next& next, const Commit& commit, const Key& joiner) const;
    Result<void> enter(Next next, std::uint64_t epoch);
    Result<void> be_ready();
    void leave() noexcept;
    Result<Outcome> receive_commit(Bytes message);
    Result<Outcome> receive_ready(Bytes message);
    Result<Key> commit_secret(const Commit& commit, const Digest256& digest);
    static Digest256 hash_of(const Roster& roster);

    GroupSettings settings_;
    SigningKey signing_;
    Admission* admission_;
    EpochWitness* witness_;
    std::uint64_t witnessed_ = 0;
    MemberId id_ = 0;
    MemberId next_id_ = 1;
    std::uint64_t epoch_ = 0;
    Digest256 transcript_{};
    Roster roster_;
    std::optional<EpochKeys> keys_;          ///< none: not a member any more
    std::optional<AgreementKey> receiving_;  ///< for the secret of the next epoch
    std::vector<std::byte> ready_;
    std::optional<Pending> pending_;
    std::uint64_t next_message_ = 0;
};

}  // namespace holdfast::agent::group
