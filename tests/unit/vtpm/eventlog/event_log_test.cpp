// SPDX-License-Identifier: Apache-2.0
#include "vtpm/eventlog/event_log.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

namespace holdfast::eventlog {
namespace {

std::vector<Event> some_events() {
    const auto measured = [](std::string_view text) { return digests_of(std::as_bytes(std::span{text})); };
    return {make_event(0, EventType::S_CRTM_VERSION, measured("v"), "v"),
            make_event(4, EventType::SEPARATOR, measured({"\0\0\0\0", 4}), {"\0\0\0\0", 4}),
            make_event(4, EventType::IPL, measured("kernel bytes"), "kernel"),
            make_event(8, EventType::IPL, measured("quiet"), "kernel_cmdline: quiet")};
}

std::string output_of(const std::string& command) {
    std::string text;
    // NOLINTNEXTLINE(cert-env33-c): a tool of the distribution, with a name made here.
    FILE* const pipe = ::popen(command.c_str(), "r");
    std::array<char, 4096> part;
    while (const std::size_t got = std::fread(part.data(), 1, part.size(), pipe))
        text.append(part.data(), got);
    EXPECT_EQ(::pclose(pipe), 0) << command << ": " << text;
    return text;
}

TEST(EventLog, EventThatNamesAnotherPcrOrLacksTheBankIsNotReplayed) {
    auto events = some_events();
    events[1].pcr = 24;
    EXPECT_FALSE(replay(events, tpm2::Alg::SHA256));
    events = some_events();
    events[1].digests.pop_back();
    EXPECT_TRUE(replay(events, tpm2::Alg::SHA256));
    EXPECT_FALSE(replay(events, tpm2::Alg::SHA384));
}

TEST(EventLog, NoActionIsNotExtendedWhateverItsPcr) {
    auto events = some_events();
    events.insert(events.begin(),
                  Event{.pcr = 0xffffffff, .type = EventType::NO_ACTION, .digests = {}, .data = {}});
    const auto with = replay(events, tpm2::Alg::SHA256);
    const auto without = replay(some_events(), tpm2::Alg::SHA256);
    ASSERT_TRUE(with && without);
    EXPECT_EQ(*with, *without);
}

// The oracle: tpm2-tools parses the log and replays it to the same values.
TEST(EventLog, Tpm2EventlogReadsItAndReplaysToTheSamePcrs) {
    if (std::system("command -v tpm2_eventlog >/dev/null") != 0) GTEST_SKIP() << "skip: no tpm2_eventlog";
    const auto log = encode(some_events());
    const auto path = std::filesystem::temp_directory_path() / ("holdfast-log-" + std::to_string(::getpid()));
    std::ofstream{path, std::ios::binary}.write(reinterpret_cast<const char*>(log.data()),
                                                static_cast<std::streamsize>(log.size()));
    const std::string text = output_of("tpm2_eventlog " + path.string());
    std::filesystem::remove(path);
    EXPECT_NE(text.find("EV_S_CRTM_VERSION"), std::string::npos) << text;
    EXPECT_NE(text.find("kernel_cmdline: quiet"), std::string::npos) << text;
    for (const tpm2::Alg bank : kBanks) {
        const auto pcrs = replay(some_events(), bank);
        ASSERT_TRUE(pcrs);
        const std::size_t section =
            text.find("  " + std::string{tpm2::alg_name(bank)} + ":", text.find("\npcrs:"));
        ASSERT_NE(section, std::string::npos) << text;
        for (const std::uint32_t pcr : {0U, 4U, 8U}) {
            std::istringstream lines{text.substr(section)};
            std::string line;
            std::string found;
            while (std::getline(lines, line)) {
                std::istringstream words{line};
                std::string key;
                std::string colon;
                words >> key >> colon;
                if (key == std::to_string(pcr) && colon == ":" && found.empty()) words >> found;
            }
            EXPECT_EQ(found, "0x" + hex((*pcrs)[pcr]->bytes())) << "PCR " << pcr;
        }
    }
}

}  // namespace
}  // namespace holdfast::eventlog
