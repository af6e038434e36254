// SPDX-License-Identifier: Apache-2.0
#include "vmm/io/console.hpp"

#include "tests/unit/vmm/io/vm.hpp"

namespace holdfast::io {
namespace {

using namespace std::chrono_literals;
using test::must;

struct IoConsole : testing::Test, Console::Watch {
    UniqueFd guest;
    UniqueFd listener;
    std::string path = "/tmp/hf-console-test-" + std::to_string(::getpid());
    UniqueFd client;  ///< the person's end
    UniqueFd log = test::temporary_file(0);
    std::optional<Console> console;
    Console::Clock::time_point now = Console::Clock::now();
    int watched = 0;

    Result<void> watch_client(const UniqueFd&) override {
        ++watched;
        return {};
    }
    void SetUp() override {
        auto pair = must(socket_pair(SOCK_STREAM));
        guest = std::move(pair.first);
        must(set_nonblocking(guest));
        listener = must(listen_unix(path));
        console.emplace(must(Console::create(std::move(pair.second), must(listener.duplicate()), {},
                                             must(log.duplicate()), now)));
    }
    void TearDown() override { ::unlink(path.c_str()); }
    void serve() {
        console->event(Console::Source::Guest, EPOLLIN | EPOLLOUT);
        console->event(Console::Source::Listener, EPOLLIN);
        console->event(Console::Source::Client, EPOLLIN | EPOLLOUT);
        while (console->turn(*this, now)) {
        }
    }
    UniqueFd connect() {
        UniqueFd fd = must(connect_unix(path));
        must(set_nonblocking(fd));
        serve();
        return fd;
    }
    /// The guest writes as much of `size` bytes as the console takes; how much that was.
    std::size_t flood(std::size_t size) {
        const std::vector<std::byte> block(4096, std::byte{'f'});
        std::size_t put = 0;
        while (put < size) {
            const ssize_t rc = ::write(guest.get(), block.data(), std::min(block.size(), size - put));
            if (rc < 0) {
                const std::size_t before = put;
                serve();
                const ssize_t again = ::write(guest.get(), block.data(), std::min(block.size(), size - put));
                if (again < 0) return before;
                put += static_cast<std::size_t>(again);
                continue;
            }
            put += static_cast<std::size_t>(rc);
        }
        serve();
        return put;
    }
    std::string read_all(const UniqueFd& fd) {
        std::string all;
        std::array<char, 4096> bytes;
        for (;;) {
            const ssize_t got = ::read(fd.get(), bytes.data(), bytes.size());
            if (got <= 0) return all;
            all.append(bytes.data(), static_cast<std::size_t>(got));
            serve();
        }
    }
    std::string logged() {
        const auto size = static_cast<std::size_t>(must(file_size(log)));
        std::vector<std::byte> bytes(size);
        must(pread_exact(log, bytes, 0));
        return test::as_text(bytes);
    }
};

TEST_F(IoConsole, OutputGoesToTheLogWhenNobodyIsThere) {
    must(write_all(guest, test::as_vector("booting")));
    serve();
    EXPECT_EQ(logged(), "booting");
}

TEST_F(IoConsole, ClientSeesOutputAndTypes) {
    client = connect();
    EXPECT_EQ(watched, 1);
    must(write_all(guest, test::as_vector("login:")));
    serve();
    EXPECT_EQ(read_all(client), "login:");
    EXPECT_EQ(logged(), "login:");
    must(write_all(client, test::as_vector("root\n")));
    serve();
    EXPECT_EQ(read_all(guest), "root\n");
}

TEST_F(IoConsole, SecondClientIsToldAndClosed) {
    client = connect();
    const UniqueFd second = connect();
    EXPECT_EQ(read_all(second), "console is in use\r\n");
    std::byte byte{};
    EXPECT_EQ(::read(second.get(), &byte, 1), 0);
    must(write_all(guest, test::as_vector("x")));
    serve();
    EXPECT_EQ(read_all(client), "x");
}

TEST_F(IoConsole, ClientMayLeaveAndAnotherCome) {
    client = connect();
    client.reset();
    serve();
    client = connect();
    must(write_all(guest, test::as_vector("again")));
    serve();
    EXPECT_EQ(read_all(client), "again");
}

TEST_F(IoConsole, ClientThatOnlyStopsTypingStillReads) {
    client = connect();
    ::shutdown(client.get(), SHUT_WR);
    serve();
    must(write_all(guest, test::as_vector("more")));
    serve();
    EXPECT_EQ(read_all(client), "more");
}

TEST_F(IoConsole, ReaderLosesNothingOfAFloodAndTheLogSaysWhatItMissed) {
    client = connect();
    constexpr std::size_t kFlood = 3 << 20;
    std::size_t put = 0;
    std::size_t seen = 0;
    while (put < kFlood) {
        put += flood(kFlood - put);
        seen += read_all(client).size();
    }
    serve();
    seen += read_all(client).size();
    EXPECT_EQ(seen, kFlood);
    now += 1s;
    must(write_all(guest, test::as_vector("end")));
    serve();
    const std::string text = logged();
    EXPECT_LT(text.size(), Console::kLogRate + 4096);
    EXPECT_NE(text.find("bytes not logged]\r\nend"), std::string::npos);
}

TEST_F(IoConsole, NobodyThereSlowsTheGuestToTheRateOfTheLog) {
    const std::size_t first = flood(8 << 20);
    EXPECT_GE(first, Console::kLogRate);
    EXPECT_LT(first, Console::kLogRate + (1 << 20)) << "the guest was not held back";
    ASSERT_TRUE(console->deadline());
    now = *console->deadline();
    EXPECT_TRUE(console->turn(*this, now));
}

TEST_F(IoConsole, ClientThatStopsReadingHoldsTheGuestForAMomentOnly) {
    client = connect();
    const std::size_t held = flood(4 << 20);
    EXPECT_LT(held, 2U << 20);
    ASSERT_TRUE(console->deadline());
    now += Console::kStall;
    serve();
    now += 1s;
    EXPECT_GT(flood(256 << 10), 0U) << "the guest is stuck behind a client that does not read";
    // Back again: it hears what was buffered, and that it missed something.
    std::string seen;
    for (int i = 0; i < 10; ++i) seen += read_all(client);
    EXPECT_NE(seen.find("bytes not shown]"), std::string::npos);
}

TEST_F(IoConsole, LogKeepsItsNewestHalf) {
    auto bounded = must(BoundedLog::create(must(log.duplicate()), 8192));
    for (int i = 0; i < 5000; ++i) {
        std::array<char, 16> line{};
        const int size = std::snprintf(line.data(), line.size(), "line %06d\n", i);
        must(bounded.append(std::as_bytes(std::span{line}).first(static_cast<std::size_t>(size))));
        ASSERT_LE(must(file_size(log)), 8192U);
    }
    const std::string text = logged();
    EXPECT_GE(text.size(), 4096U);
    EXPECT_TRUE(text.ends_with("line 004998\nline 004999\n"));
    EXPECT_NE(text.find("line 004900\n"), std::string::npos);
}

TEST_F(IoConsole, LogOpenedForAppendingIsStillBounded) {
    const int flags = ::fcntl(log.get(), F_GETFL);
    ASSERT_EQ(::fcntl(log.get(), F_SETFL, flags | O_APPEND), 0);
    auto bounded = must(BoundedLog::create(must(log.duplicate()), 8192));
    const std::vector<std::byte> text(5000, std::byte{'x'});
    for (int i = 0; i < 10; ++i) must(bounded.append(text));
    EXPECT_LE(must(file_size(log)), 8192U);
}

TEST_F(IoConsole, IsFinishedWhenTheVmmIsGoneAndItsOutputIsPassedOn) {
    EXPECT_FALSE(console->finished());
    must(write_all(guest, test::as_vector("last words")));
    guest.reset();
    serve();
    EXPECT_TRUE(console->finished());
    EXPECT_EQ(logged(), "last words");
}

}  // namespace
}  // namespace holdfast::io
