// SPDX-License-Identifier: Apache-2.0
// Our side of the control channel, and what firmware does with a TPM, against swtpm.
#include "swtpm.hpp"

#include <algorithm>

#include "vmm/measured_boot.hpp"
#include "vmm/tpm/tpm.hpp"
#include "vtpm/channel/client.hpp"
#include "vtpm/tpm2/command.hpp"

namespace holdfast::tpm {
namespace {

using vtpm::channel::Client;
namespace cap = vtpm::channel::cap;

class SwtpmTest : public testing::Test {
protected:
    void SetUp() override {
        if (!Swtpm::is_there()) GTEST_SKIP() << "skip: no swtpm";
        swtpm = std::make_unique<Swtpm>();
    }
    Client client() const { return Client{swtpm->control(), swtpm->data()}; }
    std::unique_ptr<Swtpm> swtpm;
};

std::vector<eventlog::Event> some_boot() {
    const auto file = [](std::string_view text) {
        UniqueFd fd = sealed_memfd("file", text.size()).value();
        EXPECT_TRUE(write_all(fd, std::as_bytes(std::span{text})));
        return fd;
    };
    return vmm::measure_boot("console=ttyS0", "a shape", {}, file("a kernel"), file("an initrd"))
        .value()
        .events;
}

/// PCR by PCR: a TPM returns eight values at most.
std::string read_pcr(Client& client, tpm2::Alg alg, std::uint32_t pcr) {
    const tpm2::PcrBank bank{.alg = static_cast<std::uint16_t>(alg), .pcrs = 1U << pcr};
    const auto answer = client.transact(tpm2::pcr_read({&bank, 1}));
    if (!answer) return answer.error().what;
    const auto response = tpm2::expect_success(*answer, "PCR_Read");
    if (!response) return response.error().what;
    const auto values = tpm2::parse_pcr_read(response->body);
    if (!values || values->digests.empty()) return "none";
    return hex(values->digests.front());
}

TEST_F(SwtpmTest, AnswersEachControlRequest) {
    Client tpm = client();
    const auto capabilities = tpm.capabilities();
    ASSERT_TRUE(capabilities);
    constexpr std::uint32_t kNeeded = cap::INIT | cap::SHUTDOWN | cap::SET_LOCALITY | cap::CANCEL_TPM_CMD |
                                      cap::STOP | cap::SET_DATAFD | cap::SET_BUFFERSIZE;
    EXPECT_EQ(*capabilities & kNeeded, kNeeded);
    EXPECT_TRUE(tpm.stop());
    EXPECT_EQ(tpm.set_buffer_size(4096).value_or(0), 4096U);
    EXPECT_TRUE(tpm.init());
    EXPECT_TRUE(tpm.set_locality(0));
    EXPECT_FALSE(tpm.set_locality(5)) << "refused";
    EXPECT_TRUE(tpm.set_locality(0)) << "and the channel goes on";
    EXPECT_TRUE(tpm.request_cancel());
    EXPECT_TRUE(tpm.set_locality(0)) << "behind the answer to cancel";
    EXPECT_TRUE(tpm.request_cancel());
    EXPECT_TRUE(tpm.request_cancel()) << "not before the first is answered";
    EXPECT_TRUE(tpm.finish());
    EXPECT_TRUE(tpm.shutdown());
}

TEST_F(SwtpmTest, RunsACommand) {
    Client tpm = client();
    ASSERT_TRUE(tpm.init());
    const auto started = tpm.transact(tpm2::startup(tpm2::Su::CLEAR));
    ASSERT_TRUE(started);
    EXPECT_TRUE(tpm2::expect_success(*started, "startup"));
}

TEST_F(SwtpmTest, SecondDataSocketIsRefused) {
    const auto [ours, theirs] = socket_pair(SOCK_STREAM).value();
    EXPECT_FALSE(Client::set_data_fd(swtpm->control(), theirs));
}

TEST_F(SwtpmTest, DeathIsAnErrorAndNotAHang) {
    Client tpm = client();
    ASSERT_TRUE(tpm.init());
    swtpm->kill();
    EXPECT_FALSE(tpm.transact(tpm2::startup(tpm2::Su::CLEAR)));
    EXPECT_FALSE(tpm.stop());
}

TEST_F(SwtpmTest, PcrsAfterPowerOnAreThoseOfTheReplayedLogInBothBanks) {
    const auto events = some_boot();
    auto tpm = Tpm::create(swtpm->control(), swtpm->data()).value();
    const auto powered = tpm->power_on(events);
    ASSERT_TRUE(powered) << powered.error().what;
    Client other = client();
    for (const tpm2::Alg bank : eventlog::kBanks) {
        const auto expected = eventlog::replay(events, bank);
        ASSERT_TRUE(expected);
        for (std::uint32_t pcr = 0; pcr < 16; ++pcr) {
            const tpm2::Digest zero{.alg = bank};
            EXPECT_EQ(read_pcr(other, bank, pcr), hex((*expected)[pcr].value_or(zero).bytes()))
                << tpm2::alg_name(bank) << ' ' << pcr;
        }
    }
}

TEST_F(SwtpmTest, NoOtherBankIsLeftToTheGuest) {
    ASSERT_TRUE(Tpm::create(swtpm->control(), swtpm->data()).value()->power_on(some_boot()));
    Client other = client();
    const auto answer = other.transact(tpm2::get_pcr_banks());
    ASSERT_TRUE(answer);
    const auto banks = tpm2::parse_pcr_banks(tpm2::parse_response(*answer).value().body);
    ASSERT_TRUE(banks);
    for (const tpm2::PcrBank& bank : *banks) {
        const bool ours = std::ranges::any_of(
            eventlog::kBanks, [&](tpm2::Alg alg) { return static_cast<std::uint16_t>(alg) == bank.alg; });
        EXPECT_EQ(bank.pcrs, ours ? tpm2::kAllPcrs : 0U) << bank.alg;
    }
}

TEST_F(SwtpmTest, PlatformHierarchyIsShut) {
    ASSERT_TRUE(Tpm::create(swtpm->control(), swtpm->data()).value()->power_on(some_boot()));
    Client other = client();
    const auto answer = other.transact(tpm2::disable_platform_hierarchy());
    ASSERT_TRUE(answer);
    constexpr std::uint32_t kHierarchyOfTheFirstHandle = 0x185;  // TPM_RC_HIERARCHY, handle 1
    EXPECT_EQ(tpm2::parse_response(*answer).value().code, kHierarchyOfTheFirstHandle);
}

// A guest's driver has a deadline for it.
TEST_F(SwtpmTest, NothingIsLeftForTheGuestToTest) {
    ASSERT_TRUE(Tpm::create(swtpm->control(), swtpm->data()).value()->power_on(some_boot()));
    Client other = client();
    const auto answer = other.transact(tpm2::get_untested());
    ASSERT_TRUE(answer);
    const auto response = tpm2::expect_success(*answer, "IncrementalSelfTest");
    ASSERT_TRUE(response);
    EXPECT_EQ(hex(response->body), "00000000");
}

TEST_F(SwtpmTest, RebootStartsAfreshWhateverTheVmmBeforeLeftBehind) {
    const auto events = some_boot();
    ASSERT_TRUE(Tpm::create(swtpm->control(), swtpm->data()).value()->power_on(events));
    Client before = client();
    ASSERT_TRUE(before.send(tpm2::pcr_extend(8, eventlog::digests_of({}))));  // and never reads the response

    ASSERT_TRUE(Tpm::create(swtpm->control(), swtpm->data()).value()->power_on(events));

    Client other = client();
    const auto expected = eventlog::replay(events, tpm2::Alg::SHA256).value();
    EXPECT_EQ(read_pcr(other, tpm2::Alg::SHA256, 8), hex(expected[8]->bytes()));
}

}  // namespace
}  // namespace holdfast::tpm
