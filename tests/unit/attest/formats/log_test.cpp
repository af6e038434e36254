// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/eventlog/log.hpp"

#include <gtest/gtest.h>

#include "attest/formats/eventlog/replay.hpp"
#include "tests/unit/attest/logs.hpp"
#include "vtpm/eventlog/event_log.hpp"

namespace holdfast::attest::eventlog {
namespace {

using test::LogWriter;
using Buffer = std::vector<std::byte>;

std::size_t events_in(const Buffer& bytes, Kind kind = Kind::Tcg) {
    const auto log = parse_log(bytes, kind);
    EXPECT_TRUE(log) << log.error().what;
    return log ? (*log)->count : 0;
}

// The writer of the VMM's own logs is another implementation.
TEST(EventLog, OfOurOwnFirmwareReplaysAsItDoesThere) {
    namespace ours = holdfast::eventlog;
    const auto measured = ours::digests_of(std::as_bytes(std::span{std::string_view{"kernel"}}));
    const std::vector<ours::Event> events{ours::make_event(4, ours::EventType::IPL, measured, "kernel"),
                                          ours::make_event(4, ours::EventType::SEPARATOR, measured, "x")};
    const Buffer bytes = ours::encode(events);
    const auto log = parse_log(bytes, Kind::Tcg);
    ASSERT_TRUE(log);
    EXPECT_EQ((*log)->count, events.size());
    Cursor cursor{**log};
    for (const ours::Event& written : events) {
        const auto read = cursor.next();
        ASSERT_TRUE(read && *read != nullptr);
        EXPECT_EQ((*read)->pcr, written.pcr);
        EXPECT_EQ((*read)->type, static_cast<std::uint32_t>(written.type));
        EXPECT_TRUE(std::ranges::equal((*read)->data, written.data));
        ASSERT_EQ((*read)->digests().size(), written.digests.size());
        for (std::size_t i = 0; i < written.digests.size(); ++i) {
            EXPECT_EQ((*read)->digests()[i].alg, static_cast<std::uint16_t>(written.digests[i].alg));
            EXPECT_TRUE(std::ranges::equal((*read)->digests()[i].value, written.digests[i].bytes()));
        }
    }
    for (const auto& [theirs, alg] :
         {std::pair{tpm2::Alg::SHA256, HashAlg::Sha256}, std::pair{tpm2::Alg::SHA384, HashAlg::Sha384}}) {
        const auto expected = ours::replay(events, theirs);
        const auto replayed = replay(*log, alg);
        ASSERT_TRUE(expected && replayed);
        for (std::size_t pcr = 0; pcr < 24; ++pcr) {
            ASSERT_EQ((*replayed)[pcr].has_value(), (*expected)[pcr].has_value()) << pcr;
            if (pcr == 4) {
                EXPECT_TRUE(std::ranges::equal((*replayed)[pcr]->bytes(), (*expected)[pcr]->bytes()));
            }
        }
    }
}

TEST(EventLog, EndsWhereItsAreaIsFilled) {
    for (const unsigned char fill : {std::uint8_t{0}, std::uint8_t{0xff}}) {
        for (const std::size_t size : {1U, 11U, 5000U}) {
            Buffer log = LogWriter{}.separators().bytes();
            log.resize(log.size() + size, std::byte{fill});
            EXPECT_EQ(events_in(log), 8U);
            log.push_back(std::byte{0x12});
            EXPECT_FALSE(parse_log(log, Kind::Tcg));
        }
    }
}

TEST(EventLog, CutAnywhereIsRefusedUnlessBetweenEvents) {
    namespace ours = holdfast::eventlog;
    const auto measured = ours::digests_of(std::as_bytes(std::span{std::string_view{"kernel"}}));
    // Not PCR 0: four zeroes at an event's begin could fill an area.
    const std::vector<ours::Event> events{
        ours::make_event(1, ours::EventType::S_CRTM_VERSION, measured, "v"),
        ours::make_event(4, ours::EventType::SEPARATOR, measured, {"\0\0\0\0", 4}),
        ours::make_event(8, ours::EventType::IPL, measured, "kernel_cmdline: quiet")};
    const Buffer log = ours::encode(events);
    std::size_t accepted = 0;
    for (std::size_t size = 0; size < log.size(); ++size) {
        if (parse_log(std::span{log}.first(size), Kind::Tcg)) ++accepted;
    }
    EXPECT_EQ(accepted, events.size()) << "one place before each event";
}

TEST(EventLog, ThatLiesIsRefused) {
    const Buffer good = LogWriter{}.separators().bytes();
    for (std::size_t size = 0; size < good.size(); ++size) {
        (void)parse_log(std::span{good}.first(size), Kind::Tcg);
        for (const Kind kind : {Kind::Tcg, Kind::Cc}) {
            Buffer lie = good;
            lie[size] = std::byte{0xff};
            (void)parse_log(lie, kind);
        }
    }
    LogWriter twice{{HashAlg::Sha256, HashAlg::Sha256}};
    EXPECT_FALSE(parse_log(twice.bytes(), Kind::Tcg));
    LogWriter many{std::vector<HashAlg>(kMaxBanks + 1, HashAlg::Sha256)};
    EXPECT_FALSE(parse_log(many.bytes(), Kind::Tcg));
}

TEST(EventLog, EventWithTwoDigestsOfOneBankIsRefused) {
    LogWriter log{{HashAlg::Sha256, HashAlg::Sha384}};
    log.put_number(0U);
    log.put_number(ev::EFI_ACTION);
    log.put_number(2U);
    for (int i = 0; i < 2; ++i) {
        log.put_number(static_cast<std::uint16_t>(HashAlg::Sha256));
        log.put_raw(Digest{}.bytes());
    }
    log.put_number(0U);
    EXPECT_FALSE(parse_log(log.bytes(), Kind::Tcg));
}

TEST(EventLog, StartupLocalityCountsOnlyBeforePcr0IsExtended) {
    const std::string_view locality{"StartupLocality\0\3", 17};
    LogWriter first;
    first.measure(0, ev::NO_ACTION, locality).measure(0, ev::EFI_ACTION, "x");
    LogWriter later;
    later.measure(0, ev::EFI_ACTION, "x").measure(0, ev::NO_ACTION, locality);
    LogWriter never;
    never.measure(0, ev::EFI_ACTION, "x");
    const auto pcr0 = [](const LogWriter& log) {
        return *(*replay(*parse_log(log.bytes(), Kind::Tcg), HashAlg::Sha256))[0];
    };
    EXPECT_NE(pcr0(first), pcr0(never));
    EXPECT_EQ(pcr0(later), pcr0(never));
}

TEST(EventLog, OfAConfidentialVmHasFiveRegisters) {
    LogWriter log{{HashAlg::Sha384}};
    log.measure(4, ev::EFI_ACTION, "x");
    const auto four = parse_log(log.bytes(), Kind::Cc);
    ASSERT_TRUE(four);
    EXPECT_EQ(replay(*four, HashAlg::Sha384)->size(), 5U);
    log.measure(5, ev::EFI_ACTION, "x");
    EXPECT_FALSE(replay(*parse_log(log.bytes(), Kind::Cc), HashAlg::Sha384));
}

TEST(EventLog, OfManyTinyEventsCostsNoMemoryAndItsLengthInTime) {
    // 16 bytes an event, all zeroes but for their last: at each, one might look ahead to the end of the log.
    Buffer log = LogWriter{}.bytes();
    constexpr std::size_t kEvents = 1U << 18;
    log.resize(log.size() + 16 * kEvents);
    log.push_back(std::byte{1});
    EXPECT_FALSE(parse_log(log, Kind::Tcg));
}

}  // namespace
}  // namespace holdfast::attest::eventlog
