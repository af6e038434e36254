// SPDX-License-Identifier: Apache-2.0
// What a host may put into the mail of a group: each message for itself, and all of them to a member and to
// somebody who wants to join.
#include <algorithm>

#include "guest_agent/group/member.hpp"

using namespace holdfast::agent;
using namespace holdfast::agent::group;

namespace {

struct Anybody final : Admission {
    holdfast::Result<void> judge(const holdfast::Digest256& /*binding*/,
                                 const KeyPackage& /*package*/) override {
        return {};
    }
};
struct Counter final : EpochWitness {
    holdfast::Result<std::uint64_t> value() override { return count; }
    holdfast::Result<std::uint64_t> advance() override { return ++count; }
    std::uint64_t count = 0;
};

/// What is understood has one encoding only.
template <typename T>
void expect_one_encoding(const holdfast::Result<T>& message, Bytes bytes) {
    if (message) holdfast::check(std::ranges::equal(encode(*message), bytes), "a message with two encodings");
}

holdfast::Result<std::vector<std::byte>> no_evidence(const holdfast::Digest256& /*binding*/) {
    return std::vector<std::byte>{};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Bytes bytes = std::as_bytes(std::span{data, size});
    expect_one_encoding(decode_key_package(bytes), bytes);
    expect_one_encoding(decode_commit(bytes), bytes);
    expect_one_encoding(decode_welcome(bytes), bytes);
    expect_one_encoding(decode_ready(bytes), bytes);
    expect_one_encoding(decode_group_message(bytes), bytes);
    expect_one_encoding(decode_standing(bytes), bytes);
    expect_one_encoding(decode_renewal(bytes), bytes);

    Anybody anybody;
    Counter counter;
    const GroupSettings settings{.group = {}, .policy = {}, .name = "a"};
    Member member = *Member::found(settings, no_evidence, anybody, counter);
    const auto outcome = member.receive(bytes);
    holdfast::check(!outcome || *outcome == Outcome::NotNow, "a stranger changed a group");
    holdfast::check(!member.open(bytes), "a stranger spoke in a group");
    holdfast::check(!member.judge_renewal(member.id(), bytes), "a stranger showed evidence of a member");
    std::ignore = member.admits({}, {{bytes.begin(), bytes.end()}});
    std::ignore = member.commit({}, {{bytes.begin(), bytes.end()}});
    Applicant applicant = *Applicant::create(settings, {}, no_evidence);
    const std::size_t half = size / 2;
    holdfast::check(
        !Member::join(std::move(applicant), bytes.first(half), bytes.subspan(half), anybody, counter),
        "somebody joined a group of nobody");
    return 0;
}
