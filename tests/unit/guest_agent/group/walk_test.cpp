// SPDX-License-Identifier: Apache-2.0
// Random walks: guests join, leave, rotate, crash and come back, several commit at once, and a carrier loses,
// repeats, delays and changes their messages. Held against what must be true of every walk:
//   - whoever is in an epoch with one transcript has its one key, and nobody else has that key;
//   - whoever was removed holds no key, and no key of theirs opens a later box;
//   - no byte of this whole process holds a secret of an epoch that all have left (forward secrecy: there is
//   nothing
//     to steal).
#include <gtest/gtest.h>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <random>
#include <set>
#include <sstream>
#include <unordered_map>

#include <fcntl.h>
#include <unistd.h>

#include "guest_agent/crypto/hpke.hpp"
#include "tests/unit/guest_agent/group/world.hpp"

namespace holdfast::agent::group {
namespace {

constexpr std::size_t kMost = 16;
using Masked = std::array<std::byte, kKeyBytes>;
constexpr std::byte kMask{0x5a};

Masked masked(const Key& key) {
    Masked out{};
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = key.bytes()[i] ^ kMask;
    return out;
}

/// Every writable byte of this process, one mapping after the other.
template <typename Look>
void scan_memory(Look look) {
    std::ifstream maps{"/proc/self/maps"};
    const int memory = ::open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    static std::array<std::byte, 1U << 16> page;  // found by itself, and overwritten at the end
    for (std::string line; std::getline(maps, line);) {
        unsigned long begin = 0;
        unsigned long end = 0;
        std::array<char, 5> rights{};
        if (std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, rights.data()) != 3 || rights[1] != 'w')
            continue;
        const auto own_begin = reinterpret_cast<unsigned long>(page.data());
        for (unsigned long at = begin; at < end; at += page.size() - kKeyBytes) {
            const std::size_t size = std::min<unsigned long>(page.size(), end - at);
            const ssize_t got = ::pread(memory, page.data(), size, static_cast<off_t>(at));
            if (got < static_cast<ssize_t>(kKeyBytes)) continue;
            if (at < own_begin + page.size() && at + size > own_begin) continue;
            look(Bytes{page}.first(static_cast<std::size_t>(got)));
        }
    }
    ::close(memory);
    wipe(page);
}

class Walk {
public:
    explicit Walk(std::uint64_t seed) : random_{seed}, grows_{seed % 2 == 0} {
        guests_.push_back(std::make_unique<Guest>("g0", machine_));
        Guest& first = *guests_.back();
        first.member =
            *Member::found(settings_of(first.name), machine_.evidence(), first.policy, first.counter);
    }

    void step() {
        switch (pick(16)) {
            case 0:
            case 1:
            case 2: apply(); break;
            case 3:
                if (!grows_ || pick(4) == 0) crash();
                break;
            case 4:
            case 5: rotate(false); break;
            case 6: rotate(!grows_ || pick(4) == 0); break;
            case 7: expire(); break;
            case 8: remind(); break;
            default: speak(); break;
        }
        hold();
        // Often two things are on the way at once, and rarely very many.
        for (std::size_t carried = pick(2 * network_.size() + 4); carried > 0; --carried) carry();
        hold();
    }
    /// All that is on the way arrives, whoever cannot follow is gone, and all who are left rotate once.
    void settle() {
        for (int round = 0; round < 4; ++round) {
            for (int carried = 0; !network_.empty() && carried < 2000; ++carried) carry();
            expire();
            hold();
        }
    }
    void forget_past() {
        remember();
        for (auto& guest : guests_) {
            if (guest->member && !guest->member->is_member()) guest->member.reset();
        }
        waiting_.clear();
        network_.clear();
        history_.clear();
    }

    [[nodiscard]] std::size_t epochs() const { return keys_.size(); }
    [[nodiscard]] std::size_t most_members() const { return most_; }
    [[nodiscard]] std::size_t opened() const { return opened_; }
    [[nodiscard]] std::size_t removed() const { return removed_; }
    [[nodiscard]] std::size_t returned() const { return returned_; }

    /// Secrets of the past that are still somewhere in this process.
    [[nodiscard]] std::size_t leaked() {
        forget_past();
        std::set<Masked> present;
        for (auto& guest : guests_) {
            if (!guest->member) continue;
            for (const Key& key : MemberProbe::secrets(*guest->member)) present.insert(masked(key));
        }
        std::unordered_map<std::uint64_t, std::vector<Masked>> past;
        for (const Masked& secret : secrets_) {
            if (present.contains(secret)) continue;
            std::uint64_t head = 0;
            std::memcpy(&head, secret.data(), sizeof head);
            past[head].push_back(secret);
        }
        std::size_t found = 0;
        constexpr std::uint64_t kMask64 = 0x5a5a5a5a5a5a5a5aULL;
        scan_memory([&](Bytes bytes) {
            for (std::size_t at = 0; at + kKeyBytes <= bytes.size(); ++at) {
                std::uint64_t head = 0;
                std::memcpy(&head, bytes.data() + at, sizeof head);
                const auto candidates = past.find(head ^ kMask64);
                if (candidates == past.end()) continue;
                for (const Masked& secret : candidates->second) {
                    bool same = true;
                    for (std::size_t i = 0; i < kKeyBytes && same; ++i)
                        same = (secret[i] ^ kMask) == bytes[at + i];
                    found += same ? 1 : 0;
                }
            }
        });
        past_ = 0;
        for (const auto& [head, list] : past) past_ += list.size();
        return found;
    }
    [[nodiscard]] std::size_t past() const { return past_; }

private:
    struct Guest {
        Guest(std::string who, const FakeMachine& machine) : name{std::move(who)}, policy{machine} {}
        std::string name;
        FakePolicy policy;
        FakeCounter counter;
        std::optional<Member> member;
    };
    enum class What : std::uint8_t { Control, Spoken, Welcome };
    struct Letter {
        What what = What::Control;
        Guest* to = nullptr;
        std::vector<std::byte> bytes;
        std::vector<std::byte> welcome;
    };

    std::size_t pick(std::size_t below) {
        return std::uniform_int_distribution<std::size_t>{0, below - 1}(random_);
    }
    std::vector<Guest*> members() {
        std::vector<Guest*> all;
        for (auto& guest : guests_) {
            if (guest->member && guest->member->is_member()) all.push_back(guest.get());
        }
        return all;
    }
    Guest* anybody() {
        const auto all = members();
        return all.empty() ? nullptr : all[pick(all.size())];
    }

    void broadcast(const std::vector<std::byte>& bytes, What what) {
        for (Guest* const to : members())
            network_.push_back({.what = what, .to = to, .bytes = bytes, .welcome = {}});
        history_.push_back(bytes);
    }
    void commit(Guest& from, const std::vector<MemberId>& removed,
                const std::vector<std::vector<std::byte>>& added) {
        auto messages = from.member->commit(removed, added);
        if (!messages) return;
        remember();
        // The order in which the carrier hands commits out is the same for all: the log of commits.
        broadcast(messages->commit, What::Control);
        for (const auto& package : added) {
            const auto waiting = waiting_.find(hash_parts({package}));
            if (waiting == waiting_.end()) continue;
            network_.push_back({.what = What::Welcome,
                                .to = waiting->second.guest,
                                .bytes = messages->commit,
                                .welcome = messages->welcome});
        }
    }
    void apply() {
        Guest* const committer = anybody();
        if (!committer || committer->member->members().size() >= kMost || guests_.size() > 60) return;
        if (grows_) {
            remind();
            for (int carried = 0; !network_.empty() && carried < 2000; ++carried) carry();
        }
        std::vector<std::vector<std::byte>> packages;
        const std::size_t room = kMost - committer->member->members().size();
        for (std::size_t joining = 1 + pick(std::min<std::size_t>(room, 3)); joining > 0; --joining) {
            Guest& fresh = newcomer();
            Applicant applicant = *Applicant::create(settings_of(fresh.name), committer->member->transcript(),
                                                     machine_.evidence());
            packages.push_back(applicant.package());
            waiting_.emplace(hash_parts({packages.back()}),
                             Waiting{.guest = &fresh, .applicant = std::move(applicant)});
        }
        commit(*committer, {}, packages);
    }
    /// Somebody new, or who was a member once.
    Guest& newcomer() {
        for (auto& guest : guests_) {
            const bool is_waiting = std::ranges::any_of(
                waiting_, [&guest](const auto& waiting) { return waiting.second.guest == guest.get(); });
            const bool is_in = guest->member && guest->member->is_member();
            if (is_in || is_waiting || pick(3) != 0) continue;
            came_back_.insert(guest.get());
            return *guest;
        }
        guests_.push_back(std::make_unique<Guest>("g" + std::to_string(guests_.size()), machine_));
        return *guests_.back();
    }
    void rotate(bool remove_one) {
        Guest* const committer = anybody();
        if (!committer) return;
        std::vector<MemberId> removed = committer->member->missing();
        if (!remove_one && !removed.empty() && pick(3) != 0) return;
        if (remove_one && committer->member->members().size() > 2) {
            for (const auto& [id, name] : committer->member->members()) {
                if (id != committer->member->id() && std::ranges::find(removed, id) == removed.end() &&
                    pick(4) == 0) {
                    removed.push_back(id);
                    break;
                }
            }
        }
        commit(*committer, removed, {});
    }
    void crash() {
        if (members().size() < 3) return;
        Guest* const who = anybody();
        who->member.reset();
        std::erase_if(network_, [&](const Letter& letter) { return letter.to == who; });
    }
    void speak() {
        Guest* const who = anybody();
        if (!who) return;
        auto sealed = who->member->seal(text("hello from " + who->name));
        if (sealed) broadcast(*sealed, What::Spoken);
    }

    /// What was lost is sent again.
    void remind() {
        for (Guest* const one : members()) {
            for (Guest* const other : members()) {
                if (one == other) continue;
                network_.push_back(
                    {.what = What::Control, .to = other, .bytes = one->member->ready(), .welcome = {}});
            }
        }
    }

    void carry() {
        if (network_.empty()) return;
        // Some of it overtakes: what is for another guest, or no commit.
        std::size_t at = pick(8) == 0 ? pick(network_.size()) : 0;
        if (network_[at].what == What::Control || network_[at].what == What::Welcome) {
            const auto first = std::ranges::find_if(network_, [&](const Letter& letter) {
                return letter.to == network_[at].to && letter.what == network_[at].what;
            });
            at = static_cast<std::size_t>(first - network_.begin());
        }
        Letter letter = std::move(network_[at]);
        network_.erase(network_.begin() + static_cast<std::ptrdiff_t>(at));
        const std::size_t fate = pick(grows_ ? 600 : 120);
        if (fate == 0) return;  // lost
        if (fate == 1) network_.push_front(letter);
        if (fate == 2 && !letter.bytes.empty())
            letter.bytes[pick(letter.bytes.size())] ^= std::byte{1} << pick(8);
        if (fate == 3) letter.bytes = history_.empty() ? letter.bytes : history_[pick(history_.size())];
        arrive(letter);
    }
    void arrive(const Letter& letter) {
        Guest& to = *letter.to;
        if (letter.what == What::Welcome) return welcome(letter);
        if (!to.member || !to.member->is_member()) return;
        if (letter.what == What::Spoken) {
            if (auto opened = to.member->open(letter.bytes)) {
                ++opened_;
                const auto said = opened->plain.bytes();
                const std::string name = to.member->members().at(opened->from);
                EXPECT_TRUE(std::ranges::equal(said, text("hello from " + name)));
            }
            return;
        }
        remember();
        const auto outcome = to.member->receive(letter.bytes);
        if (!outcome) return;
        if (*outcome == Outcome::NewEpoch) broadcast(to.member->ready(), What::Control);
        if (*outcome == Outcome::Removed) ++removed_;
    }
    void welcome(const Letter& letter) {
        for (auto waiting = waiting_.begin(); waiting != waiting_.end(); ++waiting) {
            if (waiting->second.guest != letter.to) continue;
            auto joined = Member::join(std::move(waiting->second.applicant), letter.welcome, letter.bytes,
                                       letter.to->policy, letter.to->counter);
            waiting_.erase(waiting);
            if (!joined) return;
            letter.to->member = std::move(*joined);
            returned_ += came_back_.erase(letter.to);
            return broadcast(letter.to->member->ready(), What::Control);
        }
    }
    /// Somebody who is alive and in the newest epoch removes all who do not follow.
    void expire() {
        Guest* newest = nullptr;
        for (Guest* const one : members()) {
            if (!newest || one->member->epoch() > newest->member->epoch()) newest = one;
        }
        if (!newest) return;
        // Who is behind lost a commit. It would have to join again.
        for (Guest* const one : members()) {
            if (one->member->transcript() != newest->member->transcript()) one->member.reset();
        }
        std::erase_if(network_, [](const Letter& letter) { return !letter.to->member; });
        for (Guest* const one : members()) {
            for (Guest* const other : members()) {
                if (one != other) std::ignore = other->member->receive(one->member->ready());
            }
        }
        auto messages = newest->member->commit(newest->member->missing(), {});
        ASSERT_TRUE(messages) << messages.error().what;
        remember();
        for (Guest* const one : members()) {
            const auto outcome = one->member->receive(messages->commit);
            ASSERT_TRUE(outcome) << outcome.error().what;
        }
    }

    /// All that anybody knows now, to be looked for later.
    void remember() {
        for (Guest* const one : members()) {
            for (const Key& key : MemberProbe::secrets(*one->member)) secrets_.insert(masked(key));
        }
    }
    void hold() {
        remember();
        for (Guest* const one : members()) {
            most_ = std::max(most_, one->member->members().size());
            const auto where = std::pair{one->member->epoch(), one->member->transcript()};
            const std::string key = hex(one->member->export_key("walk")->bytes());
            const auto [known, fresh] = keys_.emplace(where, key);
            ASSERT_EQ(known->second, key) << "two keys in one epoch of one history";
            // A key is of one epoch and one history, and one who has it is in its roster.
            const auto owner = owners_.emplace(key, where).first;
            ASSERT_EQ(owner->second, where);
            ASSERT_TRUE(one->member->members().contains(one->member->id()));
        }
    }

    struct Waiting {
        Guest* guest;
        Applicant applicant;
    };
    std::mt19937_64 random_;
    bool grows_;  ///< every other walk is one of few losses
    FakeMachine machine_;
    std::vector<std::unique_ptr<Guest>> guests_;
    std::deque<Letter> network_;
    std::vector<std::vector<std::byte>> history_;
    std::map<Digest256, Waiting> waiting_;
    std::map<std::pair<std::uint64_t, Digest256>, std::string> keys_;
    std::map<std::string, std::pair<std::uint64_t, Digest256>> owners_;
    std::set<Masked> secrets_;
    std::size_t most_ = 0;
    std::size_t opened_ = 0;
    std::size_t removed_ = 0;
    std::set<Guest*> came_back_;  ///< who asks once more
    std::size_t returned_ = 0;
    std::size_t past_ = 0;
};

TEST(GroupWalk, MembersAgreeWhateverTheCarrierDoes) {
    const std::uint64_t seeds = std::getenv("HOLDFAST_LONG") ? 1000 : 30;
    std::size_t epochs = 0;
    std::size_t most = 0;
    std::size_t opened = 0;
    std::size_t removed = 0;
    std::size_t returned = 0;
    for (std::uint64_t seed = 0; seed < seeds; ++seed) {
        SCOPED_TRACE(seed);
        Walk walk{seed};
        for (int step = 0; step < 80 && !testing::Test::HasFailure(); ++step) walk.step();
        walk.settle();
        if (testing::Test::HasFailure()) return;
        epochs += walk.epochs();
        most = std::max(most, walk.most_members());
        opened += walk.opened();
        removed += walk.removed();
        returned += walk.returned();
    }
    // A walk that goes nowhere shows nothing.
    EXPECT_GT(epochs, seeds * 10);
    EXPECT_EQ(most, kMost);
    EXPECT_GT(opened, seeds);
    EXPECT_GT(removed, seeds / 10);
    EXPECT_GT(returned, seeds / 10);
    std::printf("%zu epochs, up to %zu members, %zu messages opened, %zu removals heard, %zu came back\n",
                epochs, most, opened, removed, returned);
}

TEST(GroupWalk, NoSecretOfAnEarlierEpochIsAnywhereInMemory) {
    const std::uint64_t seeds = std::getenv("HOLDFAST_LONG") ? 20 : 2;
    for (std::uint64_t seed = 1000; seed < 1000 + seeds; ++seed) {
        SCOPED_TRACE(seed);
        Walk walk{seed};
        for (int step = 0; step < 80; ++step) walk.step();
        walk.settle();
        EXPECT_EQ(walk.leaked(), 0U) << "of " << walk.past();
        EXPECT_GT(walk.past(), 100U);
    }
}

// The look into memory finds what is there.
TEST(GroupWalk, ScanFindsASecretThatWasLeft) {
    const Key key = random_key();
    const Masked pattern = masked(key);
    std::size_t found = 0;
    scan_memory([&](Bytes bytes) {
        for (std::size_t at = 0; at + kKeyBytes <= bytes.size(); ++at) {
            bool same = true;
            for (std::size_t i = 0; i < kKeyBytes && same; ++i) same = (pattern[i] ^ kMask) == bytes[at + i];
            found += same ? 1 : 0;
        }
    });
    EXPECT_GE(found, 1U);
}

}  // namespace
}  // namespace holdfast::agent::group
