// SPDX-License-Identifier: Apache-2.0
// holdfast-io as a process: it starts, serves in its jail, and ends when its peers do.
#include <algorithm>

#include "tests/io/process.hpp"

namespace holdfast::io {
namespace {

using test::must;

struct IoProcessTest : testing::Test {
    test::IoProcess io;
};

TEST_F(IoProcessTest, ServesADiskFromInsideItsJail) {
    const UniqueFd file = test::temporary_file(1 << 20);
    io.config.disks.push_back({.file = must(file.duplicate()), .size_bytes = 1 << 20});
    io.start();
    auto slot = io.client->take_slot();
    std::memset(slot->bytes(4096).data(), 'k', 4096);
    test::submit(*io.client, {.op = Op::Write, .offset = 8192, .length = 4096, .slot = std::move(*slot)});
    auto completion = test::next(*io.client);
    ASSERT_TRUE(completion);
    EXPECT_EQ(completion->status, Status::Ok);
    test::submit(*io.client, {.op = Op::Flush});
    EXPECT_EQ(test::next(*io.client)->status, Status::Ok);
    test::submit(*io.client, {.op = Op::WriteZeroes, .offset = 12288, .length = 4096});
    EXPECT_EQ(test::next(*io.client)->status, Status::Ok);
    test::submit(*io.client, {.op = Op::Discard, .offset = 0, .length = 4096});
    EXPECT_EQ(test::next(*io.client)->status, Status::Ok);
    test::submit(
        *io.client,
        {.op = Op::Read, .offset = 8192, .length = 4096, .slot = std::move(*io.client->take_slot())});
    completion = test::next(*io.client);
    ASSERT_EQ(completion->length, 4096U);
    EXPECT_EQ(completion->slot.bytes(4096)[4095], std::byte{'k'});
    char byte = 0;
    ASSERT_EQ(::pread(file.get(), &byte, 1, 8192), 1);
    EXPECT_EQ(byte, 'k');
}

// The whole process tree has 6 MiB (docs/measurements.md).
TEST_F(IoProcessTest, UsesLessThanOneMebibyteOfItsOwnAfterStart) {
    const UniqueFd file = test::temporary_file(1 << 20);
    io.config.disks.push_back({.file = must(file.duplicate()), .size_bytes = 1 << 20});
    io.start();
    const std::string path = "/proc/" + std::to_string(io.child.pid()) + "/smaps_rollup";
    std::FILE* const rollup = std::fopen(path.c_str(), "re");
    if (rollup == nullptr) GTEST_SKIP() << "not allowed to read " << path;
    std::array<char, 256> line{};
    unsigned long pss = 0;
    while (std::fgets(line.data(), line.size(), rollup) != nullptr && pss == 0) {
        static_cast<void>(std::sscanf(line.data(), "Pss: %lu kB", &pss));
    }
    std::fclose(rollup);
    RecordProperty("pss_kib", static_cast<int>(pss));
    EXPECT_GT(pss, 0U);
    EXPECT_LT(pss, 1024U);
}

TEST_F(IoProcessTest, EndsCleanlyWhenTheVmmCloses) {
    io.start();
    io.console.reset();
    const Ending ending = io.wait_for_end();
    EXPECT_FALSE(ending.signalled);
    EXPECT_EQ(ending.value, 0);
}

TEST_F(IoProcessTest, EndsCleanlyWhenTheCommandLineCloses) {
    io.start();
    io.handover.reset();
    const Ending ending = io.wait_for_end();
    EXPECT_FALSE(ending.signalled);
    EXPECT_EQ(ending.value, 0);
}

TEST_F(IoProcessTest, ReportsAVmmThatBreaksTheProtocolAndEnds) {
    io.start();
    const auto raw = must(SharedMemory::map(io.shared.memory));
    Producer<shared::Request> liar{raw.rings().requests};
    ASSERT_TRUE(
        liar.put({.offset = 0, .length = 1, .tag = 0, .slot = 9999, .op = 1, .resource = 0, .reserved = 0}));
    static_cast<void>(liar.publish());
    EventFd{must(io.shared.requests.duplicate())}.signal();
    ASSERT_TRUE(test::wait_readable(io.handover));
    const auto report = must(receive_report(io.handover));
    ASSERT_TRUE(report);
    EXPECT_TRUE(std::holds_alternative<Failed>(*report));
    EXPECT_EQ(io.wait_for_end().value, 1);
}

TEST_F(IoProcessTest, ConsoleBytesGoBothWaysAndIntoTheLog) {
    auto client = must(socket_pair(SOCK_STREAM));
    io.config.console_client = std::move(client.second);
    const auto log = must(io.config.console_log.duplicate());
    io.start();
    must(write_all(io.console, test::as_vector("login: ")));
    std::array<std::byte, 64> bytes{};
    ASSERT_TRUE(test::wait_readable(client.first));
    EXPECT_EQ(::read(client.first.get(), bytes.data(), bytes.size()), 7);
    must(write_all(client.first, test::as_vector("root\n")));
    ASSERT_TRUE(test::wait_readable(io.console));
    EXPECT_EQ(::read(io.console.get(), bytes.data(), bytes.size()), 5);
    io.console.reset();
    EXPECT_EQ(io.wait_for_end().value, 0);
    ASSERT_EQ(::pread(log.get(), bytes.data(), bytes.size(), 0), 7);
    EXPECT_EQ(test::as_text(std::span{bytes}.first(7)), "login: ");
}

TEST_F(IoProcessTest, OutputOfADyingVmmIsNotLost) {
    auto client = must(socket_pair(SOCK_STREAM));
    io.config.console_client = std::move(client.second);
    io.start();
    std::vector<std::byte> text(100'000, std::byte{'p'});
    must(write_all(io.console, std::span{text}.first(40'000)));
    io.console.reset();
    std::size_t got = 0;
    std::array<std::byte, 4096> bytes{};
    while (test::wait_readable(client.first)) {
        const ssize_t size = ::read(client.first.get(), bytes.data(), bytes.size());
        if (size <= 0) break;
        got += static_cast<std::size_t>(size);
    }
    EXPECT_EQ(got, 40'000U);
    EXPECT_EQ(io.wait_for_end().value, 0);
}

}  // namespace
}  // namespace holdfast::io
