// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/group_verb.hpp"

#include <algorithm>
#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "guest_agent/agent/conversation.hpp"
#include "guest_agent/agent/door.hpp"
#include "guest_agent/agent/evidence.hpp"
#include "guest_agent/agent/peer_policy.hpp"
#include "guest_agent/agent/tpm_device.hpp"
#include "guest_agent/keystore/witness.hpp"
#include "sys/log.hpp"

namespace holdfast::agent {
namespace {

using group::GroupSettings;
using group::Member;
using group::Talk;
using Clock = Talk::Moment::clock;

// A host that delays delays for ever; this ends a run that cannot succeed.
constexpr std::chrono::seconds kPatience{600};
constexpr Error kAlone{Fault::Os, ETIMEDOUT, "wait for the other members of the group"};

struct Plan {
    std::string group;
    std::string name;
    std::vector<std::string> members;
    std::vector<std::string> program;
};

Result<Plan> plan_of(std::span<char*> words) {
    constexpr const char* kUsage =
        "usage: holdfast-agent group GROUP NAME MEMBER... -- PROGRAM [ARGUMENT...]";
    const auto dashes =
        std::ranges::find(words, std::string_view{"--"}, [](char* word) { return std::string_view{word}; });
    if (dashes - words.begin() < 4 || words.end() - dashes < 2) return input_error(kUsage);
    Plan plan{.group = words[0],
              .name = words[1],
              .members = {words.begin() + 2, dashes},
              .program = {dashes + 1, words.end()}};
    if (plan.members.size() > group::kMaxMembers) return input_error("a group has 64 members at most");
    const auto is_named = [&](const std::string& member) { return member == plan.name; };
    if (std::ranges::count_if(plan.members, is_named) != 1)
        return input_error("NAME is one of the members, once");
    if (std::ranges::count(plan.members, kGone) + std::ranges::count(plan.members, kCame) != 0)
        return input_error("no member is called - or +");
    return plan;
}

GroupSettings settings_of(const Plan& plan, const PeerPolicy& policy) {
    GroupSettings settings{.group = {}, .policy = policy.digest(), .name = plan.name};
    Sha256 hash;
    hash.update(std::as_bytes(std::span{plan.group}));
    const Digest256 digest = hash.finish();
    std::copy_n(digest.begin(), settings.group.size(), settings.group.begin());
    return settings;
}

/// A member of a group, or of one that is to be.
struct Newcomer {
    GroupSettings settings;
    group::Admission* policy;
    group::EpochWitness* witness;
    group::Pace pace;
};

/// A group of one, and then of those who come first.
Result<Talk> found(Newcomer own, std::size_t founders, Door& door) {
    const auto shown = Clock::now();
    Talk talk{HF_TRY(Member::found(std::move(own.settings), make_evidence, *own.policy, *own.witness)),
              own.pace, shown, Clock::now()};
    HF_TRY(door.announce(talk.standing()));
    for (const auto until = Clock::now() + kPatience; talk.applicants() + 1 < founders;) {
        HF_TRY(door.look(talk));
        if (Clock::now() > until) return kAlone;
        std::this_thread::sleep_for(kBoardPause);
    }
    while (talk.applicants() != 0) HF_TRY(talk.turn(Clock::now()));
    if (const auto invitation = talk.take_invitation()) HF_TRY(door.invite(*invitation));
    return talk;
}

/// An epoch may end before our key package is read, which is then of another moment: we ask anew.
Result<Talk> join(Newcomer own, Door& door) {
    std::optional<group::Standing> asked;
    std::optional<group::Applicant> applicant;
    Talk::Moment shown{};
    for (const auto until = Clock::now() + kPatience; Clock::now() < until;
         std::this_thread::sleep_for(kBoardPause)) {
        // First this: members put an invitation there before they tell of the epoch that it is to.
        const auto standing = HF_TRY(door.standing());
        if (applicant) {
            const std::vector<std::byte> package = applicant->package();
            if (const auto invited = HF_TRY(door.invitation(package))) {
                Member member = HF_TRY(Member::join(std::move(*applicant), invited->welcome, invited->commit,
                                                    *own.policy, *own.witness));
                HF_TRY(door.clear(package));
                // It was for a group as it is no more, if this guest has stood still.
                if (Clock::now() >= until) break;
                return Talk{std::move(member), own.pace, shown, Clock::now()};
            }
        }
        if (!standing || standing == asked) continue;
        shown = Clock::now();
        applicant = HF_TRY(group::Applicant::create(own.settings, standing->transcript, make_evidence));
        HF_TRY(door.ask(applicant->package()));
        asked = standing;
    }
    return kAlone;
}

/// How many of the members begin the group.
Result<std::size_t> founders_of(const Config& config, const Plan& plan) {
    if (config.group_founders > plan.members.size())
        return input_error("agent.conf: group-founders says more than the group has members");
    return config.group_founders == 0 ? plan.members.size() : config.group_founders;
}

}  // namespace

Result<void> group_verb(std::span<char*> words) {
    const Plan plan = HF_TRY(plan_of(words));
    const Config config = HF_TRY(read_config());
    const auto policy = HF_TRY(PeerPolicy::create(config, plan.members));
    const std::size_t founders = HF_TRY(founders_of(config, plan));
    const bool is_open = config.group_founders != 0;
    Board board = HF_TRY(Board::open(plan.group, plan.name));
    Door door{board, plan.members};
    keystore::TpmWitness witness{HF_TRY(open_tpm())};
    Newcomer own{.settings = settings_of(plan, *policy),
                 .policy = policy.get(),
                 .witness = &witness,
                 .pace = config.group_pace};
    // Who would found may come back to a group that goes on without it.
    const bool founds = plan.name == plan.members.front() && !(is_open && HF_TRY(door.standing()));
    Talk talk = founds ? HF_TRY(found(std::move(own), founders, door)) : HF_TRY(join(std::move(own), door));
    const std::size_t there = talk.others().size() + 1;
    if (!is_open && there != founders) return peer_fault("the group has begun without some of its members");
    log::info("group_formed", {{"group", plan.group}, {"members", there}});
    return converse(board, is_open ? &door : nullptr, std::move(talk), plan.members, plan.program);
}

}  // namespace holdfast::agent
