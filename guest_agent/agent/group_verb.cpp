// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/group_verb.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "guest_agent/agent/board.hpp"
#include "guest_agent/agent/conversation.hpp"
#include "guest_agent/agent/evidence.hpp"
#include "guest_agent/agent/peer_policy.hpp"
#include "guest_agent/agent/tpm_device.hpp"
#include "guest_agent/keystore/witness.hpp"
#include "sys/log.hpp"

namespace holdfast::agent {
namespace {

using group::GroupSettings;
using group::Member;

// A host that delays delays for ever; this ends a run that cannot succeed.
constexpr std::chrono::seconds kPatience{600};

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
    const auto is_named = [&](const std::string& member) { return member == plan.name; };
    if (std::ranges::count_if(plan.members, is_named) != 1)
        return input_error("NAME is one of the members, once");
    if (std::ranges::count(plan.members, kNotice) != 0) return input_error("no member is called -");
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

/// The founder's stream: transcript, welcome, commit. Everybody else's: a key package, for the founder. Then
/// messages.
Result<Member> found(const Plan& plan, Board& board, GroupSettings settings, PeerPolicy& policy,
                     group::EpochWitness& witness) {
    Member member = HF_TRY(Member::found(std::move(settings), make_evidence, policy, witness));
    HF_TRY(board.post(member.transcript()));
    std::vector<std::vector<std::byte>> packages;
    for (const std::string& other : plan.members) {
        if (other != plan.name) packages.push_back(HF_TRY(board.await(other, kPatience)));
    }
    const auto next = HF_TRY(member.commit({}, packages));
    HF_TRY(board.post(next.welcome));
    HF_TRY(board.post(next.commit));
    HF_TRY(member.receive(next.commit));
    return member;
}

Result<Member> join(const Plan& plan, Board& board, GroupSettings settings, PeerPolicy& policy,
                    group::EpochWitness& witness) {
    const std::string& founder = plan.members.front();
    const auto said = HF_TRY(board.await(founder, kPatience));
    Digest256 transcript{};
    if (said.size() != transcript.size()) return peer_fault("what begins a group is no transcript");
    std::ranges::copy(said, transcript.begin());
    for (const std::string& other : plan.members) {
        if (other != plan.name && other != founder) board.skip(other);  // its key package
    }
    auto applicant = HF_TRY(group::Applicant::create(std::move(settings), transcript, make_evidence));
    HF_TRY(board.post(applicant.package()));
    const auto welcome = HF_TRY(board.await(founder, kPatience));
    const auto commit = HF_TRY(board.await(founder, kPatience));
    return Member::join(std::move(applicant), welcome, commit, policy, witness);
}

Result<void> expect_all(const Plan& plan, const Member& member) {
    const auto there = member.members();
    if (there.size() == plan.members.size()) return {};
    return peer_fault("the group has begun without some of its members");
}

}  // namespace

Result<void> group_verb(std::span<char*> words) {
    const Plan plan = HF_TRY(plan_of(words));
    const Config config = HF_TRY(read_config());
    const auto policy = HF_TRY(PeerPolicy::create(config, plan.members));
    Board board = HF_TRY(Board::open(plan.group, plan.name));
    keystore::TpmWitness witness{HF_TRY(open_tpm())};
    const bool founds = plan.name == plan.members.front();
    GroupSettings settings = settings_of(plan, *policy);
    Member member = founds ? HF_TRY(found(plan, board, std::move(settings), *policy, witness))
                           : HF_TRY(join(plan, board, std::move(settings), *policy, witness));
    HF_TRY(expect_all(plan, member));
    log::info("group_formed", {{"group", plan.group}, {"members", plan.members.size()}});
    return converse(board,
                    group::Talk{std::move(member), config.group_pace, std::chrono::steady_clock::now()},
                    plan.members, plan.program);
}

}  // namespace holdfast::agent
