// SPDX-License-Identifier: Apache-2.0
// The anchor on a real TPM implementation, and what an administrator of its storage may try.
#include <csignal>

#include "tests/anchor/swtpm.hpp"

namespace holdfast::anchor::test {
namespace {

struct OnHost : testing::Test {
    void SetUp() override {
        if (program_path("swtpm").empty()) GTEST_SKIP() << "skip: no swtpm";
        std::signal(SIGPIPE, SIG_IGN);  // as the jail does
        host.emplace();
        Life{*host}.init();
    }
    std::string state_after(const std::string& files = "anchor", OnPowerLoss policy = OnPowerLoss::Refuse) {
        Life life{*host, files, policy};
        life.open();
        return life.why();
    }
    /// An anchor lived and committed versions from..to.
    void live(std::uint64_t from, std::uint64_t to) {
        Life life{*host};
        ASSERT_TRUE(life.open()) << life.why();
        for (std::uint64_t version = from; version <= to; ++version) ASSERT_TRUE(life.store_version(version));
    }
    std::optional<Host> host;
};

TEST_F(OnHost, KeepsWhatWasCommittedAcrossRestarts) {
    live(1, 3);
    Life life{*host};
    ASSERT_TRUE(life.open()) << life.why();
    EXPECT_EQ(life.version(), 3U);
}

TEST_F(OnHost, OldLogIsRefused) {
    live(1, 3);
    host->save("anchor", "old");
    live(4, 4);
    std::filesystem::copy_file(host->path("old/log.0"), host->path("anchor/log.0"),
                               std::filesystem::copy_options::overwrite_existing);
    std::filesystem::copy_file(host->path("old/log.1"), host->path("anchor/log.1"),
                               std::filesystem::copy_options::overwrite_existing);
    EXPECT_EQ(state_after(), "log_old");
}

TEST_F(OnHost, OldEverythingOnDiskIsRefused) {
    live(1, 3);
    host->save("anchor", "old");
    live(4, 4);
    // The old key file knows only authValues that the fence has replaced.
    EXPECT_EQ(state_after("old"), "counter_taken");
}

TEST_F(OnHost, SecondAnchorOnTheSameDiskFencesTheFirst) {
    Life first{*host};
    ASSERT_TRUE(first.open());
    // swtpm serves one connection: the first anchor is frozen, not ended, while the second one lives.
    Life second{*host};
    first.tpm.reset();
    ASSERT_TRUE(second.open()) << second.why();
    ASSERT_TRUE(second.store_version(1));
}

TEST_F(OnHost, ClearedTpmIsRefused) {
    live(1, 1);
    {
        auto esys = Esys::create(host->tpm());
        ASSERT_TRUE(esys);
        ASSERT_EQ(
            Esys_Clear((*esys)->get(), ESYS_TR_RH_LOCKOUT, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE), 0U);
    }
    EXPECT_EQ(state_after(), "keys_locked");
}

TEST_F(OnHost, OtherTpmIsRefused) {
    live(1, 1);
    std::filesystem::create_directory(host->path("other"));
    host->cut_power("other");
    EXPECT_EQ(state_after(), "tpm_swapped");
}

TEST_F(OnHost, ChangedPcrsAreRefused) {
    live(1, 1);
    {
        auto esys = Esys::create(host->tpm());
        ASSERT_TRUE(esys);
        TPML_DIGEST_VALUES digests{};
        digests.count = 1;
        digests.digests[0].hashAlg = TPM2_ALG_SHA256;
        ASSERT_EQ(Esys_PCR_Extend((*esys)->get(), ESYS_TR_PCR7, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                                  &digests),
                  0U);
    }
    EXPECT_EQ(state_after(), "keys_locked");
}

void undefine(Esys& esys, TPM2_HANDLE index) {
    ESYS_TR handle = ESYS_TR_NONE;
    ASSERT_EQ(Esys_TR_FromTPMPublic(esys.get(), index, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &handle),
              0U);
    ASSERT_EQ(Esys_NV_UndefineSpace(esys.get(), ESYS_TR_RH_OWNER, handle, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                    ESYS_TR_NONE),
              0U);
}

TEST_F(OnHost, DeletedCounterIsRefused) {
    live(1, 1);
    undefine(**Esys::create(host->tpm()), kIndexO);
    EXPECT_EQ(state_after(), "counter_missing");
}

TEST_F(OnHost, CounterDeletedAndMadeAnewIsRefused) {
    live(1, 1);
    {
        auto esys = Esys::create(host->tpm());
        undefine(**esys, kIndexO);
        undefine(**esys, kIndexS);
    }
    // The same handles, attributes and policy, hence the same Names; but another authValue.
    Life{*host, "thief"}.init();
    EXPECT_EQ(state_after(), "counter_taken");
}

TEST_F(OnHost, PowerCutIsRefusedOrMarked) {
    {
        Life life{*host};
        ASSERT_TRUE(life.open());
        ASSERT_TRUE(life.store_version(1, Strength::Strict));
        ASSERT_TRUE(life.store_version(2));
        life.tpm.reset();
    }
    host->cut_power();
    EXPECT_EQ(state_after(), "power_loss");
    Life life{*host, "anchor", OnPowerLoss::Adopt};
    ASSERT_TRUE(life.open()) << life.why();
    EXPECT_EQ(life.version(), 1U);
    EXPECT_EQ(life.anchor->ledger().leaves()[0].gaps, 1U);
}

TEST_F(OnHost, TpmResetEndsTheAnchorThatServes) {
    Life life{*host};
    ASSERT_TRUE(life.open());
    ASSERT_TRUE(life.store_version(1));
    host->cut_power();
    EXPECT_FALSE(life.store_version(2));
    EXPECT_TRUE(life.anchor->is_dead());
}

}  // namespace
}  // namespace holdfast::anchor::test
