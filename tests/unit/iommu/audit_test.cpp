// SPDX-License-Identifier: Apache-2.0
#include "iommu/audit.hpp"

#include <cstdlib>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace holdfast::iommu {
namespace {

class AuditTest : public testing::Test {
protected:
    static UniqueFd scratch() {
        std::string name = "/tmp/holdfast-audit-XXXXXX";
        UniqueFd file{::mkstemp(name.data())};
        ::unlink(name.c_str());
        return file;
    }
    [[nodiscard]] std::string text() const {
        std::string all(*file_size(file), '\0');
        EXPECT_TRUE(pread_exact(file, std::as_writable_bytes(std::span{all}), 0));
        return all;
    }
    /// The same file, opened anew: a lock belongs to an opening.
    [[nodiscard]] UniqueFd again() const {
        return UniqueFd{::open(("/proc/self/fd/" + std::to_string(file.get())).c_str(), O_RDWR | O_CLOEXEC)};
    }
    [[nodiscard]] AuditLog log() const { return std::move(*AuditLog::open(again())); }
    UniqueFd file = scratch();
    const AuditEvent bound{.what = "bound", .device = "0000:01:00.0"};
};

/// The chain was made by hand: printf '%s' 000…0'seq=0 at=5 event=bound device=0000:01:00.0' | sha256sum
TEST_F(AuditTest, LineIsAsDocumented) {
    ASSERT_TRUE(log().append(bound, 5));

    EXPECT_EQ(text(), "seq=0 at=5 event=bound device=0000:01:00.0 "
                      "chain=06b247ff01d6a1e235f0423575fe4efd087c1c7565ddc4118823107c623cd667\n");
}

TEST_F(AuditTest, GrantSaysWhatWasGrantedAndByWhichRule) {
    const Mapping granted{.start = Iova{0x1000},
                          .size = 0x2000,
                          .target = GuestAddr{0x7000},
                          .rule = 3,
                          .access = Access::ReadWrite};
    ASSERT_TRUE(log().append({.what = "refused", .device = "a", .why = "overlap", .mapping = granted}, 5));

    EXPECT_TRUE(text().starts_with("seq=0 at=5 event=refused device=a iova=0x1000 size=0x2000 target=0x7000 "
                                   "access=read-write rule=3 why=overlap chain="));
}

TEST_F(AuditTest, ChainGoesOnWhenTheLogIsOpenedAgain) {
    ASSERT_TRUE(log().append(bound, 1));
    ASSERT_TRUE(log().append(bound, 2));

    const auto lines = read_audit(text());

    ASSERT_TRUE(lines);
    ASSERT_EQ(lines->size(), 2);
    EXPECT_EQ((*lines)[1].number, 1);
    EXPECT_EQ((*lines)[1].at_ms, 2);
}

TEST_F(AuditTest, EachChangedByteAndEachMissingLineIsFound) {
    for (std::uint64_t i = 0; i < 3; ++i) ASSERT_TRUE(log().append(bound, i));
    const std::string whole = text();
    ASSERT_TRUE(read_audit(whole));
    for (std::size_t i = 0; i < whole.size(); ++i) {
        std::string changed = whole;
        changed[i] = static_cast<char>(changed[i] ^ 1);
        const auto lines = read_audit(changed);
        // A last newline that went leaves an unfinished line, which is not read.
        EXPECT_TRUE(!lines || (i == whole.size() - 1 && lines->size() == 2)) << i;
    }
    const std::size_t second = whole.find('\n') + 1;
    const std::size_t third = whole.find('\n', second) + 1;
    EXPECT_FALSE(read_audit(whole.substr(second)));
    EXPECT_FALSE(read_audit(whole.substr(0, second) + whole.substr(third)));
}

TEST_F(AuditTest, LogThatWasChangedIsNotWrittenToAnyMore) {
    ASSERT_TRUE(log().append(bound, 1));
    ASSERT_EQ(::pwrite(file.get(), "X", 1, 3), 1);

    EXPECT_EQ(AuditLog::open(again()).error().fault, Fault::Input);
}

TEST_F(AuditTest, LineThatAPowerCutLeftUnfinishedIsTakenOff) {
    ASSERT_TRUE(log().append(bound, 1));
    const std::string before = text();
    ASSERT_EQ(::pwrite(file.get(), "seq=1 at=", 9, static_cast<off_t>(before.size())), 9);

    ASSERT_TRUE(log().append(bound, 2));

    EXPECT_TRUE(text().starts_with(before));
    EXPECT_EQ(read_audit(text())->size(), 2);
}

TEST_F(AuditTest, WordsCannotBecomeFieldsOrLines) {
    ASSERT_TRUE(log().append({.what = "bound", .device = "x why=good\nseq=9 chain=00"}, 1));

    const auto lines = read_audit(text());

    ASSERT_EQ(lines->size(), 1);
    EXPECT_EQ((*lines)[0].fields.size(), 4);
}

TEST_F(AuditTest, FloodIsCountedAndNotWritten) {
    AuditLog audit = log();
    const TokenBucket::Clock::time_point start{std::chrono::hours{1}};
    for (unsigned i = 0; i < 10'000; ++i) ASSERT_TRUE(audit.append_limited(bound, 1, start));
    ASSERT_TRUE(audit.append_limited(bound, 1, start + std::chrono::seconds{1}));

    const auto lines = read_audit(text());

    ASSERT_EQ(lines->size(), AuditLog::kBurst + 1);
    EXPECT_EQ(lines->back().fields.back(), (std::pair<std::string, std::string>{"left_out", "9500"}));
}

TEST_F(AuditTest, FullLogRefusesAndKeepsWhatItHas) {
    AuditLog audit = log();
    std::uint64_t written = 0;
    while (audit.append(bound, 1)) ++written;

    EXPECT_LE(text().size(), AuditLog::kMostBytes);
    EXPECT_EQ(read_audit(text())->size(), written);
}

TEST_F(AuditTest, SecondWriterIsRefused) {
    const AuditLog first = log();

    EXPECT_EQ(AuditLog::open(again()).error().os_errno, EWOULDBLOCK);
}

}  // namespace
}  // namespace holdfast::iommu
