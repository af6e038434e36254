// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/group/member.hpp"

#include <gtest/gtest.h>
#include <deque>
#include <set>

#include "guest_agent/call/blob.hpp"
#include "guest_agent/call/endpoint.hpp"
#include "guest_agent/call/services.hpp"
#include "guest_agent/crypto/hpke.hpp"
#include "sys/wire/endian.hpp"
#include "tests/unit/guest_agent/group/world.hpp"

namespace holdfast::agent::group {
namespace {

/// A group whose carrier is honest unless the test is not.
class Groups : public testing::Test {
protected:
    struct Guest {
        explicit Guest(const FakeMachine& machine) : policy{machine} {}
        FakePolicy policy;
        FakeCounter counter;
        std::optional<Member> member;
    };

    Guest& guest(const std::string& name) {
        auto& made = guests[name];
        if (!made) made = std::make_unique<Guest>(machine);
        return *made;
    }
    Member& member(const std::string& name) { return *guest(name).member; }
    Applicant applicant(const std::string& name, const Digest256& transcript) {
        return *Applicant::create(settings_of(name), transcript, machine.evidence());
    }
    void found(const std::string& name) {
        guest(name).member =
            *Member::found(settings_of(name), machine.evidence(), guest(name).policy, guest(name).counter);
    }
    void all_ready() {
        for (auto& [from, one] : guests) {
            for (auto& [to, other] : guests) {
                if (from != to && one->member && other->member && one->member->is_member() &&
                    other->member->is_member()) {
                    EXPECT_TRUE(other->member->receive(one->member->ready()));
                }
            }
        }
    }
    void deliver(const CommitMessages& messages) {
        for (auto& [name, one] : guests) {
            if (one->member && one->member->is_member()) {
                const auto got = one->member->receive(messages.commit);
                ASSERT_TRUE(got) << name << ": " << got.error().what;
            }
        }
    }
    void join(const std::string& committer, const std::string& name) {
        Applicant who = applicant(name, member(committer).transcript());
        const auto messages = member(committer).commit({}, {who.package()});
        ASSERT_TRUE(messages) << messages.error().what;
        deliver(*messages);
        auto joined = Member::join(std::move(who), messages->welcome, messages->commit, guest(name).policy,
                                   guest(name).counter);
        ASSERT_TRUE(joined) << joined.error().what;
        guest(name).member = std::move(*joined);
        all_ready();
    }
    void of_three() {
        found("ann");
        join("ann", "bob");
        join("bob", "carl");
    }
    /// Whether somebody with this key learns a secret from a box.
    static bool opens(const AgreementKey& key, const Commit& commit, const Box& box) {
        const Le<std::uint32_t> to{box.to};
        const Digest256 context = hash_parts({head_of(commit), std::as_bytes(std::span{&to, 1})});
        return hpke::open(key, text("holdfast group 1 commit secret"), context, box.sealed) ||
               hpke::open(key, text("holdfast group 1 joiner secret"), context, box.sealed);
    }
    static std::string key(const Member& member) { return hex(member.export_key("test")->bytes()); }

    FakeMachine machine;
    std::map<std::string, std::unique_ptr<Guest>> guests;
};

TEST_F(Groups, AllHaveTheSameKeyAndEachEpochAnother) {
    found("ann");
    const std::string alone = key(member("ann"));
    join("ann", "bob");
    EXPECT_EQ(key(member("ann")), key(member("bob")));
    EXPECT_NE(key(member("ann")), alone);
    const std::string before = key(member("ann"));
    deliver(*member("bob").commit({}, {}));
    EXPECT_EQ(key(member("ann")), key(member("bob")));
    EXPECT_NE(key(member("ann")), before);
    EXPECT_EQ(member("ann").epoch(), 2U);
    EXPECT_NE(member("ann").export_key("a")->bytes()[0], member("ann").export_key("b")->bytes()[0]);
}

TEST_F(Groups, MessagesReachAllOthersOnceAndInOrder) {
    of_three();
    const auto first = *member("ann").seal(text("one"));
    const auto second = *member("ann").seal(text("two"));
    EXPECT_TRUE(std::ranges::equal(member("bob").open(first)->plain.bytes(), text("one")));
    EXPECT_FALSE(member("bob").open(first));
    EXPECT_EQ(member("bob").open(second)->skipped, 0U);
    EXPECT_EQ(member("carl").open(second)->skipped, 1U);
    EXPECT_FALSE(member("carl").open(first)) << "older than what was taken";
    EXPECT_FALSE(member("ann").open(first)) << "our own comes back";
}

TEST_F(Groups, MessageWithAnyBitChangedIsRefused) {
    of_three();
    auto sealed = *member("ann").seal(text("x"));
    for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
        sealed[bit / 8] ^= std::byte{1} << (bit % 8);
        EXPECT_FALSE(member("bob").open(sealed)) << bit;
        sealed[bit / 8] ^= std::byte{1} << (bit % 8);
    }
    EXPECT_TRUE(member("bob").open(sealed));
}

TEST_F(Groups, MemberCannotSpeakForAnother) {
    of_three();
    // Bob has all keys of the group. He seals as Ann; only her signature he cannot make.
    GroupMessage forged = *decode_group_message(*member("bob").seal(text("x")));
    forged.from = member("ann").id();
    forged.signature = *sign(MemberProbe::signing(member("bob")).secret, signed_part(forged));
    EXPECT_FALSE(member("carl").open(encode(forged)));
}

TEST_F(Groups, WhoWasRemovedHasNoKeysAndOpensNothingLater) {
    of_three();
    const AgreementKey kept = MemberProbe::stolen_receiving(member("carl"));
    const AgreementKey bobs = MemberProbe::stolen_receiving(member("bob"));
    const auto messages = *member("ann").commit({member("carl").id()}, {});
    EXPECT_EQ(*member("carl").receive(messages.commit), Outcome::Removed);
    deliver(messages);
    EXPECT_FALSE(member("carl").is_member());
    EXPECT_FALSE(member("carl").export_key("test"));
    EXPECT_EQ(key(member("ann")), key(member("bob")));
    // With all that he had, he tries every box. What works for who stays shows that the test tries the right
    // thing.
    const Commit commit = *decode_commit(messages.commit);
    for (const Box& box : commit.boxes) EXPECT_FALSE(opens(kept, commit, box));
    EXPECT_EQ(commit.boxes.size(), 1U);
    EXPECT_TRUE(opens(bobs, commit, commit.boxes.front()));
}

TEST_F(Groups, CommitOrReadyWithAnyByteChangedIsRefused) {
    of_three();
    const auto messages = *member("ann").commit({}, {});
    auto commit = messages.commit;
    for (std::size_t at = 0; at < commit.size(); ++at) {
        commit[at] ^= std::byte{1};
        const auto got = member("bob").receive(commit);
        EXPECT_TRUE(!got || *got == Outcome::NotNow) << at;
        commit[at] ^= std::byte{1};
    }
    EXPECT_EQ(*member("bob").receive(commit), Outcome::NewEpoch);
    auto ready = member("bob").ready();
    ASSERT_EQ(*member("ann").receive(commit), Outcome::NewEpoch);
    for (std::size_t at = 0; at < ready.size(); ++at) {
        ready[at] ^= std::byte{1};
        const auto got = member("ann").receive(ready);
        EXPECT_TRUE(!got || *got == Outcome::NotNow) << at;
        ready[at] ^= std::byte{1};
    }
    EXPECT_EQ(*member("ann").receive(ready), Outcome::Noted);
    EXPECT_EQ(*member("ann").receive(ready), Outcome::NotNow);
}

TEST_F(Groups, WhoHasNoEvidenceOrIsNotWantedByOneMemberIsNotIn) {
    of_three();
    const FakeMachine other;
    Applicant liar = *Applicant::create(settings_of("mallory"), member("ann").transcript(), other.evidence());
    EXPECT_FALSE(member("ann").commit({}, {liar.package()}));
    // Bob alone does not want Dora: he stays where he is, and she has no key that he uses.
    guest("bob").policy.refused = "dora";
    Applicant dora = applicant("dora", member("ann").transcript());
    const auto messages = *member("ann").commit({}, {dora.package()});
    EXPECT_FALSE(member("bob").receive(messages.commit));
    EXPECT_EQ(member("bob").epoch(), 2U);
    EXPECT_TRUE(member("bob").is_member());
}

TEST_F(Groups, EvidenceOfAnotherMomentNameOrKeyIsRefused) {
    of_three();
    Applicant early = applicant("dora", Digest256{});
    EXPECT_FALSE(member("ann").commit({}, {early.package()}));
    KeyPackage renamed = *decode_key_package(applicant("dora", member("ann").transcript()).package());
    renamed.name = "eve";
    EXPECT_FALSE(member("ann").commit({}, {encode(renamed)}));
    const SigningKey thief = *make_signing_key();
    renamed.name = "dora";
    renamed.signing = thief.shared;
    renamed.signature = *sign(thief.secret, signed_part(renamed));
    EXPECT_FALSE(member("ann").commit({}, {encode(renamed)}))
        << "evidence of another's, signed with one's own key";
    EXPECT_FALSE(member("ann").commit({}, {applicant("bob", member("ann").transcript()).package()}))
        << "two of one name";
}

TEST_F(Groups, SecondCommitOfAnEpochDoesNothing) {
    of_three();
    const auto anns = *member("ann").commit({}, {});
    const auto bobs = *member("bob").commit({}, {});
    for (const char* name : {"ann", "bob", "carl"}) {
        EXPECT_EQ(*member(name).receive(bobs.commit), Outcome::NewEpoch);
        EXPECT_EQ(*member(name).receive(anns.commit), Outcome::NotNow);
    }
    EXPECT_EQ(key(member("ann")), key(member("carl")));
}

TEST_F(Groups, CarrierThatSplitsTheGroupIsFoundOut) {
    of_three();
    const auto anns = *member("ann").commit({}, {});
    const auto bobs = *member("bob").commit({}, {});
    ASSERT_TRUE(member("ann").receive(anns.commit));
    ASSERT_TRUE(member("bob").receive(bobs.commit));
    EXPECT_NE(key(member("ann")), key(member("bob")));
    EXPECT_FALSE(member("ann").receive(member("bob").ready()));
    EXPECT_FALSE(member("ann").open(*member("bob").seal(text("x"))));
}

TEST_F(Groups, MemberThatIsNotReadyIsNamedAndCanBeRemoved) {
    of_three();
    deliver(*member("ann").commit({}, {}));
    EXPECT_EQ(member("ann").missing(), (std::vector<MemberId>{2, 3}));
    ASSERT_TRUE(member("ann").receive(member("bob").ready()));
    EXPECT_FALSE(member("ann").commit({}, {}));
    deliver(*member("ann").commit({3}, {}));
    EXPECT_EQ(member("ann").members().size(), 2U);
}

TEST_F(Groups, CommitThatRemovesItsCommitterOrNobodyIsRefused) {
    of_three();
    EXPECT_FALSE(member("ann").commit({member("ann").id()}, {}));
    EXPECT_FALSE(member("ann").commit({77}, {}));
    EXPECT_FALSE(member("ann").commit({2, 2}, {}));
}

TEST_F(Groups, WelcomeWithAnyByteChangedIsRefused) {
    found("ann");
    Applicant bob = applicant("bob", member("ann").transcript());
    const auto messages = *member("ann").commit({}, {bob.package()});
    const std::size_t size = messages.welcome.size();
    for (std::size_t at = 0; at < size; ++at) {
        auto changed = messages.welcome;
        changed[at] ^= std::byte{4};
        Applicant twin = applicant("bob", member("ann").transcript());
        FakeCounter counter;
        EXPECT_FALSE(Member::join(std::move(twin), changed, messages.commit, guest("bob").policy, counter))
            << at;
    }
    // The applicant's own keys: one try only, so the change that a signature does not cover.
    auto changed = messages.welcome;
    Welcome welcome = *decode_welcome(changed);
    welcome.next_id += 1;
    EXPECT_FALSE(Member::join(std::move(bob), encode(welcome), messages.commit, guest("bob").policy,
                              guest("bob").counter));
}

TEST_F(Groups, GroupThatTheCarrierInventedIsRefused) {
    // A carrier with a machine of its own founds a group of the same name and policy.
    const FakeMachine other;
    FakePolicy lenient{other};
    FakeCounter counter;
    Member fake = *Member::found(settings_of("ann"), other.evidence(), lenient, counter);
    struct Anybody final : Admission {
        Result<void> judge(const Digest256& /*binding*/, const KeyPackage& /*package*/) override {
            return {};
        }
    } anybody;
    Member open = *Member::found(settings_of("ann"), other.evidence(), anybody, counter);
    Applicant bob = applicant("bob", open.transcript());
    const auto messages = *open.commit({}, {bob.package()});
    const auto joined = Member::join(std::move(bob), messages.welcome, messages.commit, guest("bob").policy,
                                     guest("bob").counter);
    EXPECT_FALSE(joined) << "ann's evidence is not what bob accepts";
}

TEST_F(Groups, MemoryThatWasPutBackIsNoMemberAnyMore) {
    of_three();
    // The counter went on without us: another life of this guest has seen more epochs.
    guest("bob").counter.count += 3;
    const auto messages = *member("ann").commit({}, {});
    EXPECT_FALSE(member("bob").receive(messages.commit));
    EXPECT_FALSE(member("bob").is_member());
}

// A stolen one-epoch key alone, or the keys of an epoch alone, are not enough.
TEST(Schedule, NextEpochNeedsTheLastOneAndTheCommit) {
    const Key chain = random_key();
    const Key commit = random_key();
    const std::string joiner = hex(joiner_secret(chain, commit).bytes());
    EXPECT_NE(joiner, hex(joiner_secret(random_key(), commit).bytes()));
    EXPECT_NE(joiner, hex(joiner_secret(chain, random_key()).bytes()));
    EXPECT_EQ(joiner, hex(joiner_secret(chain, commit).bytes()));
}

// Group, epoch, transcript and roster are in the keys: who sees another of them has others.
TEST(Schedule, KeysAreOfOneView) {
    const Key joiner = random_key();
    const auto chain = [&](std::byte group, std::uint64_t epoch, std::byte transcript, std::byte roster) {
        return hex(epoch_keys(joiner, {group}, epoch, {transcript}, {roster}).chain.bytes());
    };
    constexpr std::byte kZero{0};
    constexpr std::byte kOne{1};
    const std::set<std::string> all{chain(kZero, 0, kZero, kZero), chain(kOne, 0, kZero, kZero),
                                    chain(kZero, 1, kZero, kZero), chain(kZero, 0, kOne, kZero),
                                    chain(kZero, 0, kZero, kOne)};
    EXPECT_EQ(all.size(), 5U);
}

// Somebody has all secrets of Bob at epoch N, by watching only. When Bob's next two epochs have begun, they
// are of no use: the first commit's box they still open, the second's they do not.
TEST_F(Groups, ThiefWhoOnlyWatchesIsOutAfterTwoEpochs) {
    of_three();
    const AgreementKey receiving = MemberProbe::stolen_receiving(member("bob"));
    const auto box_of_bob = [&](const Commit& commit) {
        return *std::ranges::find(commit.boxes, member("bob").id(), &Box::to);
    };
    const auto first = *member("ann").commit({}, {});
    const Commit of_first = *decode_commit(first.commit);
    EXPECT_TRUE(opens(receiving, of_first, box_of_bob(of_first))) << "the test itself is wrong";
    deliver(first);
    all_ready();
    const Commit of_second = *decode_commit(member("ann").commit({}, {})->commit);
    EXPECT_FALSE(opens(receiving, of_second, box_of_bob(of_second)));
}

/// A group whose members' evidence is as long as so many members' may be.
class LargeGroups : public testing::TestWithParam<std::size_t> {
protected:
    struct Anybody final : Admission {
        Result<void> judge(const Digest256& /*binding*/, const KeyPackage& /*package*/) override {
            return {};
        }
    };
    /// Of one member, and `more` bytes beyond.
    static Evidence evidence(std::size_t more = 0) {
        const std::size_t beside = encode(KeyPackage{.name = name_of(0), .evidence = {}}).size();
        const std::size_t size = kMaxPackages / GetParam() - beside + more;
        return [size](const Digest256& /*binding*/) { return std::vector<std::byte>(size); };
    }
    static std::string name_of(std::size_t number) {
        std::string name = std::to_string(number);
        return name + std::string(kMaxMemberName - name.size(), 'x');
    }
    void found() {
        members.push_back(*Member::found(settings_of(name_of(0)), evidence(), anybody, counters.front()));
    }
    Applicant applicant(std::size_t number, std::size_t more = 0) {
        return *Applicant::create(settings_of(name_of(number)), members.front().transcript(), evidence(more));
    }
    /// The first commits, all apply it, and those join.
    void commit(const std::vector<MemberId>& removed, std::vector<Applicant> joining) {
        std::vector<std::vector<std::byte>> packages;
        for (const Applicant& one : joining) packages.push_back(one.package());
        const auto messages = members.front().commit(removed, packages);
        ASSERT_TRUE(messages) << messages.error().what;
        expect_carried(messages->commit);
        expect_carried(messages->welcome);
        for (Member& member : members) ASSERT_TRUE(member.receive(messages->commit));
        std::erase_if(members, [](const Member& member) { return !member.is_member(); });
        for (Applicant& one : joining) {
            auto member = Member::join(std::move(one), messages->welcome, messages->commit, anybody,
                                       counters.emplace_back());
            ASSERT_TRUE(member) << member.error().what;
            members.push_back(std::move(*member));
        }
        for (std::size_t i = 1; i < members.size(); ++i)
            ASSERT_TRUE(members.front().receive(members[i].ready()));
    }
    /// By one call, under the longest name.
    static void expect_carried(Bytes message) {
        EXPECT_LE(message.size(), kMaxControl);
        const call::NamedBlob blob{.name = std::string(call::kMaxBlobName, 'n'),
                                   .bytes = {message.begin(), message.end()}};
        EXPECT_TRUE(call::Endpoint::with_host().request(1, 1, call::encode(blob)));
    }
    void expect_full() {
        EXPECT_EQ(members.size(), GetParam());
        const auto more = members.front().commit({}, {applicant(GetParam()).package()});
        ASSERT_FALSE(more);
        const std::string why = more.error().what;
        EXPECT_NE(why.find(GetParam() == kMaxMembers ? "64 members at most" : "evidence of all members"),
                  std::string::npos)
            << why;
    }
    Anybody anybody;
    std::deque<FakeCounter> counters{1};
    std::vector<Member> members;
};

TEST_P(LargeGroups, LetOthersInByMessagesThatFitIntoOneCall) {
    found();
    std::vector<Applicant> joining;
    for (std::size_t i = 1; i < GetParam(); ++i) joining.push_back(applicant(i));
    commit({}, std::move(joining));
    expect_full();
    // The longest welcome: it names who leaves, and all who stay.
    std::vector<Applicant> instead;
    instead.push_back(applicant(GetParam()));
    commit({members.back().id()}, std::move(instead));
    expect_full();
}

TEST_P(LargeGroups, TakeNoLongerEvidence) {
    found();
    std::vector<std::vector<std::byte>> packages;
    for (std::size_t i = 1; i < GetParam(); ++i) packages.push_back(applicant(i).package());
    EXPECT_TRUE(members.front().admits({}, packages));
    packages.back() = applicant(GetParam(), 1 + kMaxPackages % GetParam()).package();
    const auto longer = members.front().admits({}, packages);
    ASSERT_FALSE(longer);
    EXPECT_NE(std::string{longer.error().what}.find("evidence of all members"), std::string::npos);
}

// docs/agent.md says so.
TEST_P(LargeGroups, HaveRoomForEvidence) {
    const std::size_t promised = GetParam() == 16 ? 61U << 10 : 15U << 10;
    EXPECT_GE(evidence()(Digest256{})->size(), promised);
}
INSTANTIATE_TEST_SUITE_P(Of, LargeGroups, testing::Values(16U, kMaxMembers));

TEST_F(Groups, GuestWhoseEvidenceIsTooLongSaysSo) {
    const auto made = Applicant::create(settings_of("ann"), Digest256{}, [](const Digest256& /*binding*/) {
        return std::vector<std::byte>(kMaxEvidence + 1);
    });
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().fault, Fault::Input);
}

}  // namespace
}  // namespace holdfast::agent::group
