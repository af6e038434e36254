// SPDX-License-Identifier: Apache-2.0
// The real protocol over a disk and counters that fail. What is refused is refused with its own state.
#include "vtpm/anchor/anchor.hpp"

#include <map>

#include "tests/unit/vtpm/anchor/world.hpp"

namespace holdfast::anchor::test {
namespace {

std::uint64_t version_of(const Anchor& anchor, unsigned vm) {
    const Leaf* const leaf = anchor.ledger().find(vm_id(vm));
    return leaf == nullptr ? 0 : leaf->version;
}

Result<void> store(Anchor& anchor, unsigned vm, std::uint64_t version,
                   Strength strength = Strength::Ordinary) {
    const Leaf* const old = anchor.ledger().find(vm_id(vm));
    Leaf leaf = old != nullptr ? *old : Leaf{.vm = vm_id(vm)};
    leaf.version = version;
    return anchor.commit(std::array{leaf}, strength);
}

std::string state_after(World& world, OnPowerLoss policy = OnPowerLoss::Refuse) {
    Life life{world, policy};
    life.open();
    return life.why();
}

struct AnchorTest : testing::Test {
    World world;
    void SetUp() override { found_anchor(world); }
};

TEST_F(AnchorTest, KeepsWhatWasCommittedAcrossRestarts) {
    for (std::uint64_t version = 1; version <= 5; ++version) {
        Life life{world};
        ASSERT_TRUE(life.open()) << life.why();
        EXPECT_EQ(version_of(*life.anchor, 7), version - 1);
        ASSERT_TRUE(store(*life.anchor, 7, version));
    }
}

TEST_F(AnchorTest, OneCommitIsOneIncrementAndOneSync) {
    Life life{world};
    ASSERT_TRUE(life.open());
    ASSERT_TRUE(store(*life.anchor, 1, 0));
    const auto o = world.o;
    const auto s = world.s;
    const int calls = world.calls;
    ASSERT_TRUE(store(*life.anchor, 1, 1));
    EXPECT_EQ(world.o, o + 1);
    EXPECT_EQ(world.s, s);
    EXPECT_EQ(world.calls, calls + 3);  // append, sync, increment
}

TEST_F(AnchorTest, OlderInstanceIsFencedOut) {
    Life old{world};
    ASSERT_TRUE(old.open());
    Life fresh{world};
    ASSERT_TRUE(fresh.open());
    EXPECT_FALSE(store(*old.anchor, 1, 1));
    EXPECT_TRUE(old.anchor->is_dead());
    EXPECT_FALSE(old.anchor->confirm());
    EXPECT_TRUE(store(*fresh.anchor, 1, 1));
}

TEST_F(AnchorTest, OldLogIsRefused) {
    Life life{world};
    ASSERT_TRUE(life.open());
    ASSERT_TRUE(store(*life.anchor, 1, 1));
    const auto old = world.files;
    ASSERT_TRUE(store(*life.anchor, 1, 2));
    world.files = old;
    EXPECT_EQ(state_after(world), "log_old");
}

TEST_F(AnchorTest, MissingLogIsRefused) {
    for (auto& file : world.files) file.cache.clear();
    EXPECT_EQ(state_after(world), "log_missing");
}

TEST_F(AnchorTest, CounterBehindTheLogIsRefused) {
    Life life{world};
    ASSERT_TRUE(life.open());
    const auto o = world.o;
    for (std::uint64_t version = 1; version < 5; ++version) ASSERT_TRUE(store(*life.anchor, 1, version));
    world.o = o - 1;
    EXPECT_EQ(state_after(world), "tpm_went_back");
}

TEST_F(AnchorTest, LogOfAnotherKeyIsRefused) {
    world.key.bytes()[0] ^= std::byte{1};
    EXPECT_NE(state_after(world), "serves");
}

TEST_F(AnchorTest, EveryFlippedBitOfTheNewestRecordsIsRefused) {
    Life life{world};
    ASSERT_TRUE(life.open());
    ASSERT_TRUE(store(*life.anchor, 1, 1));
    const World::File* newest = &world.files[0];
    if (world.files[1].cache.size() > newest->cache.size()) newest = &world.files[1];
    const auto at = static_cast<std::size_t>(newest - world.files.data());
    const auto saved = world.files;
    for (std::size_t i = 0; i < saved[at].cache.size(); ++i) {
        world.files = saved;
        world.files[at].cache[i] ^= static_cast<std::byte>(1U << i % 8);
        EXPECT_EQ(state_after(world), "log_damaged") << i;
    }
}

TEST_F(AnchorTest, PowerCutWithoutALossIsNoticedByNobody) {
    {
        Life life{world};
        ASSERT_TRUE(life.open());
        while ((world.o & 255) != 254) ASSERT_TRUE(store(*life.anchor, 1, world.o));
        // The record for ..ff is written, its increment never happens, and the power goes.
        world.fail_at = world.calls + 2;
        EXPECT_FALSE(store(*life.anchor, 1, 77));
        world.cut_power(false);
    }
    Life life{world};
    ASSERT_TRUE(life.open()) << life.why();
    EXPECT_EQ(version_of(*life.anchor, 1), 77U);
    EXPECT_FALSE(life.anchor->adopted());
}

TEST_F(AnchorTest, PowerCutIsRefusedOrMarked) {
    {
        Life life{world};
        ASSERT_TRUE(life.open());
        ASSERT_TRUE(store(*life.anchor, 1, 1, Strength::Strict));
        ASSERT_TRUE(store(*life.anchor, 1, 2));
        world.cut_power(false);
    }
    EXPECT_EQ(state_after(world), "power_loss");
    Life life{world, OnPowerLoss::Adopt};
    ASSERT_TRUE(life.open()) << life.why();
    EXPECT_TRUE(life.anchor->adopted());
    EXPECT_EQ(version_of(*life.anchor, 1), 1U);
    EXPECT_EQ(life.anchor->ledger().find(vm_id(1))->gaps, 1U);
    // And it stays marked.
    Life next{world};
    ASSERT_TRUE(next.open()) << next.why();
    EXPECT_EQ(next.anchor->ledger().find(vm_id(1))->gaps, 1U);
}

TEST_F(AnchorTest, VtpmThatWasMadeIsNeverUnknownAgain) {
    {
        Life life{world};
        ASSERT_TRUE(life.open());
        ASSERT_TRUE(store(*life.anchor, 9, 0));
        world.cut_power(false);
    }
    Life life{world, OnPowerLoss::Adopt};
    ASSERT_TRUE(life.open()) << life.why();
    ASSERT_NE(life.anchor->ledger().find(vm_id(9)), nullptr);
    EXPECT_EQ(life.anchor->ledger().find(vm_id(9))->gaps, 1U);
}

TEST_F(AnchorTest, CheckpointIsAdoptedOnlyAfterAReset) {
    Life life{world};
    ASSERT_TRUE(life.open());
    while ((world.o & 255) != 255) ASSERT_TRUE(store(*life.anchor, 1, world.o));
    const auto at = world.o;
    (void)at;
    // The newest record is hidden, O's low bits happen to be all ones, but nothing was reset.
    for (auto& file : world.files) {
        if (file.cache.size() > 400) file.cache.resize(file.cache.size() - 1);
    }
    EXPECT_EQ(state_after(world, OnPowerLoss::Adopt), "log_damaged");
}

TEST_F(AnchorTest, LongLogTurnsToTheOtherFile) {
    Life life{world};
    ASSERT_TRUE(life.open());
    std::vector<Leaf> many(1000);
    std::uint64_t version = 0;
    const auto sizes = [&] { return std::pair{world.files[0].cache.size(), world.files[1].cache.size()}; };
    const auto before = sizes();
    for (int i = 0; i < 130; ++i) {
        ++version;
        for (unsigned vm = 0; vm < many.size(); ++vm) {
            many[vm].vm = vm_id(vm);
            many[vm].version = version;
        }
        ASSERT_TRUE(life.anchor->commit(many, Strength::Ordinary));
    }
    EXPECT_LT(std::max(sizes().first, sizes().second), std::size_t{24} << 20);
    EXPECT_NE(before.first < before.second, sizes().first == before.first);
    Life next{world};
    ASSERT_TRUE(next.open()) << next.why();
    EXPECT_EQ(version_of(*next.anchor, 999), version);
}

// ---- Every call fails once, in each way; then, while that is recovered from, every call fails again.

struct Acknowledged {
    std::uint64_t tried = 0;
    std::uint64_t ordinary = 0;
    std::uint64_t strict = 0;
};

/// A life: opens, stores three versions, every second one strictly.
bool live(World& world, OnPowerLoss policy, Acknowledged& acked, std::string& why) {
    Life life{world, policy};
    const bool opened = life.open();
    why = life.why();
    if (!opened) return false;
    const Leaf* const leaf = life.anchor->ledger().find(vm_id(1));
    const std::uint64_t version = leaf == nullptr ? 0 : leaf->version;
    EXPECT_LE(version, acked.tried);
    EXPECT_GE(version, acked.strict);
    if (version < acked.ordinary) {
        // Lost in a power cut: then, and only then, it shows.
        EXPECT_TRUE(leaf != nullptr && leaf->gaps > 0);
        EXPECT_EQ(policy, OnPowerLoss::Adopt);
    }
    acked.ordinary = version;
    acked.strict = version;  // the checkpoint at start
    for (int i = 0; i < 3; ++i) {
        const auto strength = i % 2 == 1 ? Strength::Strict : Strength::Ordinary;
        ++acked.tried;
        if (!store(*life.anchor, 1, acked.tried, strength)) return false;
        acked.ordinary = acked.tried;
        if (strength == Strength::Strict) acked.strict = acked.tried;
    }
    return true;
}

enum class Aftermath { Restart, CutLosingUnsynced, CutKeepingUnsynced };

void exhaust(Aftermath aftermath, OnPowerLoss policy) {
    bool more = true;
    std::size_t worlds = 0;
    for (int first = 0; more && first < 200; ++first) {
        for (const auto kind : {FaultKind::Before, FaultKind::After, FaultKind::Half}) {
            for (int second = -1; second < 16; ++second) {
                World world;
                found_anchor(world);
                Acknowledged acked;
                std::string why;
                world.fault = kind;
                world.calls = 0;
                world.fail_at = first;
                more = !live(world, policy, acked, why);
                for (const int fail_at : {second, -1}) {
                    if (aftermath != Aftermath::Restart && fail_at == second) {
                        world.cut_power(aftermath == Aftermath::CutKeepingUnsynced);
                    }
                    world.calls = 0;
                    world.fail_at = fail_at;
                    const bool fine = live(world, policy, acked, why);
                    if (fail_at >= 0 || fine) continue;
                    EXPECT_EQ(why, "power_loss") << first << ' ' << second;
                    EXPECT_EQ(policy, OnPowerLoss::Refuse);
                    EXPECT_NE(aftermath, Aftermath::Restart);
                }
                ++worlds;
            }
        }
    }
    EXPECT_FALSE(more) << "the scenario is longer than the loop";
    EXPECT_GT(worlds, 500U);
}

TEST(AnchorFaults, EveryCallFailsAndTheAnchorRestarts) { exhaust(Aftermath::Restart, OnPowerLoss::Refuse); }
TEST(AnchorFaults, EveryCallFailsAndThePowerGoes) {
    exhaust(Aftermath::CutLosingUnsynced, OnPowerLoss::Adopt);
    exhaust(Aftermath::CutKeepingUnsynced, OnPowerLoss::Adopt);
}
TEST(AnchorFaults, EveryCallFailsThePowerGoesAndJumpsStayRefused) {
    exhaust(Aftermath::CutLosingUnsynced, OnPowerLoss::Refuse);
    exhaust(Aftermath::CutKeepingUnsynced, OnPowerLoss::Refuse);
}

}  // namespace
}  // namespace holdfast::anchor::test
