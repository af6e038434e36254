// SPDX-License-Identifier: Apache-2.0
// The worker's own code against every single loss: each call of the anchor's disk and TPM, each message to
// the anchor, to the state service and to the launcher. After each, the next worker finds what was answered
// for, or what was on its way; never less, never something else.
#include "vtpm/state/anchored.hpp"

#include <csignal>
#include <map>
#include <set>

#include "tests/unit/vtpm/state/small_host.hpp"
#include "vtpm/state/keeper.hpp"

namespace holdfast::vtpm::test {
namespace {

using anchor::test::FaultKind;

const Identity kBox{.id = {}, .name = "box"};

SecretBytes filled(unsigned char fill) {
    auto key = SecretBytes::create(kStateKeyBytes);
    std::ranges::fill(key->bytes(), static_cast<std::byte>(fill));
    return std::move(*key);
}

/// holdfast-vtpm without its TPM.
struct Worker {
    explicit Worker(SmallHost& host, Strictness strictness = Strictness::Ordinary)
        : store{host.store()},
          anchored{std::move(*Anchored::create(host.door(), kBox.id, {}, strictness, store))},
          keeper{Sealer{std::move(*derive_state_key(filled(7), kBox)), kBox}, store, *anchored, filled(0)} {}
    StoreClient store;
    std::unique_ptr<Anchored> anchored;
    Keeper keeper;
};

/// What the guests of all lives were told, and what they wrote without being told.
struct Told {
    std::map<std::uint64_t, std::set<std::string>> tried;
    std::uint64_t newest = 0;
    std::string text;
};

std::string text_of(const StateBlob& blob) {
    std::string text;
    for (const auto byte : blob.bytes()) text += static_cast<char>(byte);
    return text;
}

/// Opens what the lives before left. False: something failed, which ends a worker.
bool open(Worker& worker, Told& told) {
    auto opened = worker.keeper.open();
    // The lock of the life before is given back a moment after it.
    while (opened && !*opened) opened = worker.keeper.open();
    if (!opened) return false;
    const auto version = worker.keeper.version();
    const auto text = text_of(**opened);
    EXPECT_GE(version, told.newest);
    bool is_known = text == told.text;
    for (auto at = told.tried.upper_bound(told.newest); at != told.tried.end() && at->first <= version;
         ++at) {
        is_known = is_known || at->second.contains(text);
    }
    EXPECT_TRUE(is_known) << version << ' ' << text;
    // What it shows to its guest from now on. It may have been made a later version before.
    told.newest = version;
    told.text = text;
    return true;
}

bool store(Worker& worker, Told& told, const std::string& text) {
    told.tried[worker.keeper.version() + 1].insert(text);
    const auto done = worker.keeper.commit(std::as_bytes(std::span{text}));
    if (!done) return false;
    EXPECT_EQ(*done, Outcome::Newest);
    told.newest = worker.keeper.version();
    told.text = text;
    return true;
}

enum class Ended { AtStart, Running, AtStop, Well };

Ended live(SmallHost& host, Told& told, const std::string& name) {
    Worker worker{host};
    if (!open(worker, told)) return Ended::AtStart;
    for (const char* const each : {" first", " second"}) {
        if (!worker.keeper.confirm() || !store(worker, told, name + each)) return Ended::Running;
    }
    return worker.keeper.stop() ? Ended::Well : Ended::AtStop;
}

struct AnchoredTest : testing::Test {
    std::string folder = std::filesystem::temp_directory_path() / "holdfast-anchored-XXXXXX";
    anchor::test::World world;

    void SetUp() override {
        std::signal(SIGPIPE, SIG_IGN);
        ASSERT_NE(::mkdtemp(folder.data()), nullptr);
        anchor::test::found_anchor(world);
    }
    void TearDown() override { std::filesystem::remove_all(folder); }
    void start_over() {
        world = anchor::test::World{};
        anchor::test::found_anchor(world);
        world.calls = 0;
        std::filesystem::remove(folder + "/state");
    }
    /// Three lives; in the first or the second, the n-th call of the world fails. False: it has fewer.
    bool calls_fail(int at, FaultKind kind, AfterDeath after, bool cut_keeps) {
        start_over();
        world.fault = kind;
        world.fail_at = at;
        Told told;
        SmallHost::Setup setup{.world = world,
                               .folder = folder,
                               .on_power_loss = anchor::OnPowerLoss::Adopt,
                               .after_death = after};
        for (const char* const name : {"one", "two"}) {
            const int before = world.calls;
            Ended ended{};
            {
                SmallHost host{setup};
                ended = live(host, told, name);
            }
            const bool hit = before <= at && at < world.calls;
            EXPECT_TRUE(ended == Ended::Well || hit) << at;
            // An anchor that comes back does not end those who run.
            EXPECT_FALSE(ended == Ended::Running && after == AfterDeath::AnchorAgain) << at;
            if (hit && after == AfterDeath::HostGone) world.cut_power(cut_keeps);
        }
        const bool hit = at < world.calls;
        setup.after_death = AfterDeath::AnchorAgain;
        SmallHost host{setup};
        EXPECT_EQ(live(host, told, "three"), Ended::Well) << at;
        return hit;
    }
    /// The same with a wire that is cut at its n-th question.
    bool wire_is_cut(Cut SmallHost::* wire, int at, bool answer) {
        start_over();
        Told told;
        SmallHost host{{.world = world, .folder = folder}};
        (host.*wire).at = at;
        (host.*wire).answer = answer;
        for (const char* const name : {"one", "two"}) {
            const Ended ended = live(host, told, name);
            EXPECT_FALSE(ended == Ended::Running && wire == &SmallHost::anchor_wire) << at;
        }
        const bool made = (host.*wire).was_made();
        (host.*wire).at = -1;
        EXPECT_EQ(live(host, told, "three"), Ended::Well) << at;
        return made;
    }
    void each_cut(Cut SmallHost::* wire, int least) {
        for (const bool answer : {false, true}) {
            int at = 0;
            while (at < 200 && wire_is_cut(wire, at, answer)) ++at;
            EXPECT_GT(at, least);
            EXPECT_LT(at, 200);
        }
    }
    void each_call(AfterDeath after, bool cut_keeps) {
        for (const auto kind : {FaultKind::Before, FaultKind::After, FaultKind::Half}) {
            int at = 0;
            while (at < 200 && calls_fail(at, kind, after, cut_keeps)) ++at;
            EXPECT_GT(at, 20);
            EXPECT_LT(at, 200);
        }
    }
};

TEST_F(AnchoredTest, EveryCallOfTheAnchorFailsAndItIsStartedAgain) {
    each_call(AfterDeath::AnchorAgain, false);
}
TEST_F(AnchoredTest, EveryCallOfTheAnchorFailsAndThePowerGoes) {
    each_call(AfterDeath::HostGone, false);
    each_call(AfterDeath::HostGone, true);
}
TEST_F(AnchoredTest, EveryMessageToTheAnchorIsLost) { each_cut(&SmallHost::anchor_wire, 7); }
TEST_F(AnchoredTest, EveryMessageToTheStateServiceIsLost) { each_cut(&SmallHost::store_wire, 5); }
TEST_F(AnchoredTest, TheLauncherGoes) {
    EXPECT_TRUE(wire_is_cut(&SmallHost::door_wire, 0, false));
    EXPECT_TRUE(wire_is_cut(&SmallHost::door_wire, 1, false));
}

TEST_F(AnchoredTest, WorkerWhoseVtpmWasStartedElsewhereAnswersNothingMore) {
    SmallHost host{{.world = world, .folder = folder}};
    Told told;
    // The wire of its second commit is lost, and so is its way back.
    host.anchor_wire.at = 2;
    host.door_wire.at = 1;
    Worker first{host};
    ASSERT_TRUE(open(first, told));
    ASSERT_TRUE(store(first, told, "first"));
    EXPECT_FALSE(store(first, told, "lost"));
    host.clone_state();
    Worker second{host};
    ASSERT_TRUE(open(second, told));
    ASSERT_TRUE(store(second, told, "second"));
    EXPECT_FALSE(first.keeper.confirm());
    EXPECT_FALSE(first.keeper.retry());
}

TEST_F(AnchoredTest, StoreOverTheRateIsPutOffAndNeverFound) {
    Told told;
    {
        SmallHost host{{.world = world, .folder = folder, .stores_a_second = 1}};
        Worker worker{host};
        ASSERT_TRUE(open(worker, told));
        Outcome outcome = Outcome::Newest;
        // Ten at once are within the rate.
        for (int i = 0; i < 20 && outcome == Outcome::Newest; ++i) {
            const std::string text = "store " + std::to_string(i);
            const auto done = worker.keeper.commit(std::as_bytes(std::span{text}));
            ASSERT_TRUE(done);
            outcome = *done;
            if (outcome == Outcome::Newest) told.text = text;
        }
        ASSERT_EQ(outcome, Outcome::PutOff);
        told.newest = worker.keeper.version() - 1;
    }
    SmallHost host{{.world = world, .folder = folder}};
    EXPECT_EQ(live(host, told, "next"), Ended::Well);
}

// Where several states are as good as each other for the ledger, the one that was opened is the newest, even
// if its worker died before it stored anything.
TEST_F(AnchoredTest, OlderStateThanTheOneOpenedAfterAPowerCutIsRefused) {
    Told told;
    const std::string state = folder + "/state";
    const std::string older = folder + "/older";
    {
        SmallHost host{{.world = world, .folder = folder}};
        Worker worker{host};
        ASSERT_TRUE(open(worker, told));
        ASSERT_TRUE(store(worker, told, "first"));
        ASSERT_TRUE(store(worker, told, "second"));
        std::filesystem::copy_file(state, older);
        ASSERT_TRUE(store(worker, told, "third"));
    }
    world.cut_power(true);
    SmallHost host{{.world = world, .folder = folder, .on_power_loss = anchor::OnPowerLoss::Adopt}};
    {
        ASSERT_TRUE(open(*std::make_unique<Worker>(host), told));
    }
    std::filesystem::copy_file(older, state, std::filesystem::copy_options::overwrite_existing);
    EXPECT_FALSE(open(*std::make_unique<Worker>(host), told));
}

TEST_F(AnchoredTest, OlderStateThanTheOneBroughtInIsRefused) {
    Told told;
    const std::string state = folder + "/state";
    const std::string older = folder + "/older";
    SmallHost host{{.world = world, .folder = folder}};
    {
        StoreClient bare{host.store()};
        Keeper keeper{Sealer{std::move(*derive_state_key(filled(7), kBox)), kBox}, bare, bare};
        ASSERT_TRUE(keeper.open());
        for (const std::string text : {"first", "second"}) {
            ASSERT_TRUE(keeper.commit(std::as_bytes(std::span{text})));
            if (text == "first") std::filesystem::copy_file(state, older);
            told.text = text;
            told.newest = keeper.version();
        }
    }
    {
        ASSERT_TRUE(open(*std::make_unique<Worker>(host), told));
    }
    std::filesystem::copy_file(older, state, std::filesystem::copy_options::overwrite_existing);
    EXPECT_FALSE(open(*std::make_unique<Worker>(host), told));
}

}  // namespace
}  // namespace holdfast::vtpm::test
