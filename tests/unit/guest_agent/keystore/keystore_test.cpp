// SPDX-License-Identifier: Apache-2.0
// On a real TPM 2.0 implementation: libtpms, in this process.
#include "guest_agent/keystore/keystore.hpp"

#include <gtest/gtest.h>
#include <algorithm>

#include "guest_agent/crypto/kdf.hpp"
#include "guest_agent/keystore/witness.hpp"
#include "tests/unit/guest_agent/group/world.hpp"
#include "vtpm/engine/engine.hpp"
#include "vtpm/tpm2/command.hpp"

namespace holdfast::agent::keystore {
namespace {

class Keystore : public testing::Test {
protected:
    void SetUp() override {
        engine = std::move(*vtpm::Engine::create());
        ASSERT_TRUE(engine->power_on(vtpm::Engine::Missing::Manufacture));
        start();
    }
    void start() const {
        ASSERT_TRUE(tpm2::expect_success(*run(tpm2::startup(tpm2::Su::CLEAR)), "startup"));
        extend(4, 1);
    }
    /// Off and on again: the same software boots.
    void reboot() {
        engine->power_off();
        ASSERT_TRUE(engine->power_on(vtpm::Engine::Missing::Refuse));
        start();
    }
    void extend(std::uint32_t pcr, int what) const {
        tpm2::Digest digest{.alg = tpm2::Alg::SHA256, .storage = {static_cast<std::byte>(what)}};
        ASSERT_TRUE(tpm2::expect_success(*run(tpm2::pcr_extend(pcr, std::span{&digest, 1})), "extend"));
    }
    [[nodiscard]] std::vector<std::byte> sealed(std::string_view secret) const {
        auto file = seal_for_next(run, text(secret));
        EXPECT_TRUE(file) << file.error().what;
        EXPECT_TRUE(keystore::advance(run));
        return *file;
    }
    [[nodiscard]] bool opens(const std::vector<std::byte>& file, std::string_view secret) const {
        const auto got = unseal(run, file);
        return got && std::ranges::equal(got->bytes(), text(secret));
    }
    std::unique_ptr<vtpm::Engine> engine;
    RunCommand run = [this](std::vector<std::byte> command) -> Result<std::vector<std::byte>> {
        const auto response = engine->process(command, 0);
        return std::vector<std::byte>{response.begin(), response.end()};
    };
};

TEST_F(Keystore, GivesBackWhatWasSealedAlsoAfterAReboot) {
    const auto file = sealed("disk key");
    EXPECT_TRUE(opens(file, "disk key"));
    reboot();
    EXPECT_TRUE(opens(file, "disk key"));
}

TEST_F(Keystore, OtherSoftwareGetsNothing) {
    const auto file = sealed("disk key");
    extend(8, 2);
    const auto got = unseal(run, file);
    ASSERT_FALSE(got);
    EXPECT_NE(std::string_view{got.error().what}.find("PCRs"), std::string_view::npos) << got.error().what;
    reboot();
    EXPECT_TRUE(opens(file, "disk key"));
}

TEST_F(Keystore, DiskAndFileCountApart) {
    const auto file = sealed("of a file");
    const auto disk = seal_for_next(run, text("of a disk"), Counter::Disk);
    ASSERT_TRUE(disk);
    EXPECT_FALSE(unseal(run, *disk, Counter::Disk));  // it counts with the next step
    ASSERT_TRUE(keystore::advance(run, Counter::Disk));
    EXPECT_TRUE(unseal(run, *disk, Counter::Disk));
    EXPECT_FALSE(unseal(run, *disk));
    EXPECT_TRUE(opens(file, "of a file"));
}

TEST_F(Keystore, DiskIsMarkedOnceAndForGood) {
    EXPECT_FALSE(*is_disk_marked(run));
    EXPECT_TRUE(mark_disk(run));
    EXPECT_TRUE(*is_disk_marked(run));
    reboot();
    EXPECT_TRUE(*is_disk_marked(run));
}

TEST_F(Keystore, OlderFileIsARollback) {
    const auto old = sealed("first");
    const auto newest = sealed("second");
    const auto got = unseal(run, old);
    ASSERT_FALSE(got);
    EXPECT_NE(std::string_view{got.error().what}.find("rollback"), std::string_view::npos);
    EXPECT_TRUE(opens(newest, "second"));
}

// What the file says of its count is for people. Who changes it meets the TPM's policy.
TEST_F(Keystore, OlderFileThatLiesAboutItsCountIsRefusedByTheTpm) {
    auto old = sealed("first");
    const auto newest = sealed("second");
    const std::size_t at = 4 + std::string_view{"holdfast keystore 1"}.size();
    std::copy_n(newest.begin() + static_cast<std::ptrdiff_t>(at), 8,
                old.begin() + static_cast<std::ptrdiff_t>(at));
    const auto got = unseal(run, old);
    ASSERT_FALSE(got);
    EXPECT_EQ(std::string_view{got.error().what}.find("rollback"), std::string_view::npos)
        << "the test changed nothing";
}

TEST_F(Keystore, CrashBetweenFileAndCountLeavesOneThatOpens) {
    const auto old = sealed("first");
    const auto fresh = *seal_for_next(run, text("second"));
    EXPECT_TRUE(opens(old, "first"));
    EXPECT_FALSE(opens(fresh, "second"));
    reboot();
    EXPECT_TRUE(opens(old, "first"));
    ASSERT_TRUE(keystore::advance(run));
    EXPECT_FALSE(opens(old, "first"));
    EXPECT_TRUE(opens(fresh, "second"));
}

TEST_F(Keystore, OlderStateOfTheTpmDoesNotKnowTheNewestFile) {
    const auto first = sealed("first");
    vtpm::StateBlob before{engine->permanent().bytes()};
    const auto newest = sealed("second");
    engine->power_off();
    engine->load(std::move(before));
    ASSERT_TRUE(engine->power_on(vtpm::Engine::Missing::Refuse));
    start();
    EXPECT_FALSE(opens(newest, "second"));
    // And so the older file opens: against both put back together stands the vTPM's anchor, not this.
    EXPECT_TRUE(opens(first, "first"));
}

TEST_F(Keystore, AnotherTpmGetsNothing) {
    const auto file = sealed("disk key");
    engine.reset();
    SetUp();
    EXPECT_FALSE(opens(file, "disk key"));
    ASSERT_FALSE(sealed("its own").empty());
    EXPECT_FALSE(opens(file, "disk key"));
}

TEST_F(Keystore, EveryByteOfTheFileCounts) {
    auto file = sealed("disk key");
    for (std::size_t at = 0; at < file.size(); ++at) {
        file[at] ^= std::byte{1};
        EXPECT_FALSE(unseal(run, file)) << at;
        file[at] ^= std::byte{1};
    }
    for (std::size_t size = 0; size < file.size(); ++size) EXPECT_FALSE(unseal(run, Bytes{file}.first(size)));
    EXPECT_TRUE(opens(file, "disk key"));
}

TEST_F(Keystore, NothingStaysLoaded) {
    for (int round = 0; round < 20; ++round) {
        const auto file = sealed("disk key");
        ASSERT_TRUE(opens(file, "disk key")) << round;
    }
}

// A group's member whose memory was put back, while its vTPM went on: the epochs of its other life are
// counted.
TEST_F(Keystore, WitnessOfEpochsIsNotPutBackWithMemory) {
    const group::FakeMachine machine;
    group::FakePolicy policy{machine};
    TpmWitness witness{run};
    group::Member member =
        *group::Member::found(group::settings_of("ann"), machine.evidence(), policy, witness);
    const auto first = *member.commit({}, {});
    EXPECT_EQ(*member.receive(first.commit), group::Outcome::NewEpoch);
    const auto second = *member.commit({}, {});
    ASSERT_TRUE(witness.advance());
    EXPECT_FALSE(member.receive(second.commit));
    EXPECT_FALSE(member.is_member());
}

TEST_F(Keystore, WitnessGoesOnAfterAReboot) {
    TpmWitness witness{run};
    const auto before = *witness.value();
    ASSERT_TRUE(witness.advance());
    reboot();
    EXPECT_EQ(*witness.value(), before + 1);
}

TEST_F(Keystore, SecretOfNoOrTooManyBytesIsRefused) {
    EXPECT_FALSE(seal_for_next(run, {}));
    EXPECT_FALSE(seal_for_next(run, std::vector<std::byte>(kMaxSecret + 1)));
    EXPECT_TRUE(seal_for_next(run, std::vector<std::byte>(kMaxSecret)));
}

}  // namespace
}  // namespace holdfast::agent::keystore
