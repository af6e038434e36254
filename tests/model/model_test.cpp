// SPDX-License-Identifier: Apache-2.0
// Explores the anchor protocol: whole it keeps its promise, and each part that is taken out breaks it.
// HOLDFAST_LONG=1 explores the sizes that docs/anchor_model.md gives counts for.
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "tests/model/anchor_model.hpp"
#include "tests/model/counter_model.hpp"

namespace holdfast::model {
namespace {

constexpr std::size_t kMostStates = 60'000'000;

void print(const char* name, const Outcome& outcome) {
    std::cout << name << ": " << outcome.states << " states"
              << (outcome.safe ? "" : ", violated: " + outcome.trace) << '\n';
}

// ---- The counter alone: the counts are those of the protocol's first exploration, made with an
// explorer of its own in another language.

struct CounterCase {
    const char* name;
    CounterModel::Rules rules;
    std::size_t states;  ///< 0: must be violated
};

class Counter : public testing::TestWithParam<CounterCase> {};

TEST_P(Counter, HoldsExactlyWhenNothingIsLeftOut) {
    const auto& [name, rules, states] = GetParam();
    const Outcome outcome = explore(CounterModel{rules}, kMostStates);
    print(name, outcome);
    EXPECT_EQ(outcome.safe, states != 0);
    EXPECT_TRUE(states == 0 || outcome.states == states) << outcome.states;
}

INSTANTIATE_TEST_SUITE_P(
    Model, Counter,
    testing::Values(CounterCase{"no fence, no burn, one instance at a time",
                                {.fence = false, .burns = 0, .instances = 3, .one_at_a_time = true},
                                0},
                    CounterCase{
                        "burn, one instance at a time", {.fence = false, .one_at_a_time = true}, 4939},
                    CounterCase{"no fence", {.fence = false}, 0}, CounterCase{"no burn", {.burns = 0}, 0},
                    CounterCase{"read without the authValue", {.authenticated_read = false}, 0},
                    CounterCase{"two records ahead, one burn", {.depth = 2}, 0},
                    CounterCase{"two records ahead, two burns", {.burns = 2, .depth = 2}, 219'871},
                    CounterCase{"whole", {}, 67'250},
                    CounterCase{"whole, 3 updates", {.updates = 3}, 166'632}),
    [](const auto& each) { return "Case" + std::to_string(each.index); });

// ---- The whole protocol.

struct AnchorCase {
    const char* name;
    AnchorRules rules;
    std::size_t states = 0;
};

class Whole : public testing::TestWithParam<AnchorCase> {};

TEST_P(Whole, LosesNothingAcknowledgedWithoutAMark) {
    const auto& [name, rules, states] = GetParam();
    const Outcome outcome = explore(AnchorModel{rules}, kMostStates);
    print(name, outcome);
    EXPECT_TRUE(outcome.complete);
    EXPECT_TRUE(outcome.safe) << outcome.trace;
    EXPECT_EQ(outcome.states, states);
}

std::vector<AnchorCase> whole_cases() {
    std::vector<AnchorCase> cases{
        {"3 anchors, 1 worker", {.anchors = 3, .workers = 1, .updates = 1}, 442'708},
        {"2 anchors, 2 workers", {.anchors = 2, .workers = 2, .updates = 1}, 97'770},
        {"2 anchors, 3 workers", {.anchors = 2, .workers = 3, .updates = 1}, 778'908},
        {"jumps stay refused", {.adopt_checkpoints = false, .workers = 1, .updates = 1}, 268'531}};
    const char* const wanted = std::getenv("HOLDFAST_LONG");
    if (wanted == nullptr || std::string_view{wanted} != "1") return cases;
    cases.push_back({"3 anchors, 2 workers", {.updates = 1}, 4'654'929});
    cases.push_back({"4 anchors, 1 worker", {.anchors = 4, .workers = 1, .updates = 1}, 13'920'132});
    cases.push_back({"2 cuts, jumps of 2 bits", {.workers = 1, .cuts = 2, .low_bits = 3}, 3'486'740});
    cases.push_back({"no cut, 2 updates", {.cuts = 0}, 4'842'543});
    return cases;
}
INSTANTIATE_TEST_SUITE_P(Model, Whole, testing::ValuesIn(whole_cases()),
                         [](const auto& each) { return "Case" + std::to_string(each.index); });

class Without : public testing::TestWithParam<AnchorCase> {};

TEST_P(Without, SomethingIsLost) {
    const Outcome outcome = explore(AnchorModel{GetParam().rules}, kMostStates);
    print(GetParam().name, outcome);
    EXPECT_FALSE(outcome.safe);
}

INSTANTIATE_TEST_SUITE_P(
    Model, Without,
    testing::Values(AnchorCase{"fence", {.fence = false, .workers = 1, .updates = 1}},
                    AnchorCase{"authenticated read", {.authenticated_read = false, .workers = 0}},
                    AnchorCase{"burn", {.burn = false, .updates = 1}},
                    AnchorCase{"second checkpoint at start", {.second_checkpoint = false, .workers = 0}},
                    AnchorCase{"mark of an adoption",
                               {.adoption_marks = false, .anchors = 2, .workers = 1, .updates = 1}},
                    AnchorCase{"burn after an adoption",
                               {.adoption_burns = false, .workers = 1, .updates = 1}},
                    AnchorCase{"commit of what starts after an adoption",
                               {.adoption_commits_start = false, .anchors = 2, .workers = 3, .updates = 1}},
                    AnchorCase{"instance in a commit",
                               {.commit_names_instance = false, .anchors = 2, .updates = 1, .cuts = 0}},
                    AnchorCase{"instance in a reattachment",
                               {.reattach_names_instance = false, .anchors = 2, .updates = 1, .cuts = 0}},
                    AnchorCase{"read before a reattachment",
                               {.reattach_reads = false, .anchors = 2, .updates = 1, .cuts = 0}}),
    [](const auto& each) { return "Case" + std::to_string(each.index); });

}  // namespace
}  // namespace holdfast::model
