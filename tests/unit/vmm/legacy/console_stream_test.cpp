// SPDX-License-Identifier: Apache-2.0
#include "vmm/legacy/console_stream.hpp"

#include <array>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "sys/socket.hpp"

namespace holdfast::legacy {
namespace {

constexpr std::uint64_t kToken = 7;

class Device final : public ConsoleDevice {
public:
    std::size_t receive(std::span<const std::byte> bytes) noexcept override {
        const std::size_t taken = std::min(bytes.size(), room);
        for (const std::byte byte : bytes.first(taken)) text.push_back(std::to_integer<char>(byte));
        room -= taken;
        return taken;
    }
    void output_ready() noexcept override { ++ready_calls; }
    std::size_t room = 1000;
    std::string text;
    int ready_calls = 0;
};

class ConsoleStreamTest : public testing::Test {
protected:
    void SetUp() override {
        auto ends = socket_pair(SOCK_STREAM).value();
        peer = std::move(ends.second);
        const int small = 8192;  // so that the stream's own buffer empties in several turns
        ASSERT_EQ(::setsockopt(ends.first.get(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
        stream = ConsoleStream::create(std::move(ends.first), poller, kToken).value();
        stream->attach(device);
    }
    /// Handles what is pending; false when nothing was.
    bool turn() {
        std::array<epoll_event, 4> events{};
        const auto got = poller.wait(events, 0).value();
        for (const epoll_event& event : got) {
            EXPECT_EQ(event.data.u64, kToken);
            last = stream->on_ready(event.events);
        }
        return !got.empty();
    }
    std::string take(std::size_t most = 1 << 20) {
        std::string text(most, '\0');
        const ssize_t got = ::recv(peer.get(), text.data(), text.size(), MSG_DONTWAIT);
        text.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
        return text;
    }
    std::size_t put(std::string_view text) { return stream->write(std::as_bytes(std::span{text})); }
    /// Writes until nothing more is taken; what was taken.
    std::string fill() {
        std::string all;
        for (unsigned i = 0;; ++i) {
            const std::string line = std::to_string(i) + "\n";
            const std::size_t taken = put(line);
            all += line.substr(0, taken);
            if (taken < line.size()) return all;
        }
    }
    void send(std::string_view text) {
        ASSERT_EQ(::send(peer.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    }

    Poller poller = Poller::create().value();
    Device device;
    UniqueFd peer;
    std::unique_ptr<ConsoleStream> stream;
    Result<void> last{};
};

TEST_F(ConsoleStreamTest, OutputIsThereBeforeTheMainLoopTurns) {
    EXPECT_EQ(put("first"), 5U);
    EXPECT_EQ(take(), "first");
    EXPECT_FALSE(turn());
}

TEST_F(ConsoleStreamTest, OutputThatTheSocketRefusesWaitsInOrderAndIsBounded) {
    const std::string sent = fill();
    EXPECT_FALSE(stream->ready());
    EXPECT_EQ(put("x"), 0U);
    std::string got;
    for (int i = 0; i < 10000 && got.size() < sent.size(); ++i) {
        got += take(4096);
        turn();
    }
    EXPECT_EQ(got, sent);
    EXPECT_TRUE(stream->ready());
    EXPECT_EQ(device.ready_calls, 1);
    EXPECT_FALSE(turn()) << "an empty buffer must not keep the loop awake";
}

TEST_F(ConsoleStreamTest, LaterOutputDoesNotOvertakeWhatWaits) {
    std::string sent = fill();
    std::string got;
    // Room in the socket and in the buffer, and still something in the buffer.
    while (!stream->ready()) {
        got += take(4096);
        turn();
    }
    got += take();
    ASSERT_EQ(put("late"), 4U);
    sent += "late";
    do {
        got += take();
    } while (turn());
    EXPECT_EQ(got, sent);
}

TEST_F(ConsoleStreamTest, NotReadyMeansLessThanABurstOfRoom) {
    while (stream->ready()) ASSERT_EQ(put("0123456789abcdef"), kConsoleBurst);
    EXPECT_LT(put("0123456789abcdef"), kConsoleBurst);
}

TEST_F(ConsoleStreamTest, InputReachesTheDevice) {
    send("hello");
    EXPECT_TRUE(turn());
    EXPECT_EQ(device.text, "hello");
    EXPECT_FALSE(turn());
}

TEST_F(ConsoleStreamTest, InputTheDeviceRefusesStaysUntilThereIsRoom) {
    device.room = 2;
    send("hello");
    EXPECT_TRUE(turn());
    EXPECT_EQ(device.text, "he");
    EXPECT_FALSE(turn()) << "waiting for room must not keep the loop awake";
    device.room = 100;
    stream->input_room();
    EXPECT_TRUE(turn());
    EXPECT_EQ(device.text, "hello");
}

TEST_F(ConsoleStreamTest, PeerThatLeavesEndsTheStreamOnce) {
    device.room = 0;
    send("unread");
    peer.reset();
    EXPECT_TRUE(turn());
    ASSERT_FALSE(last.has_value());
    EXPECT_EQ(last.error().fault, Fault::Peer);
    EXPECT_FALSE(turn());
    EXPECT_TRUE(stream->ready());
    EXPECT_EQ(put("into the void"), 13U);
}

TEST_F(ConsoleStreamTest, DrainSendsTheRestWhileSomebodyReads) {
    const std::string sent = fill();
    std::string got;
    std::jthread reader{[&] {
        std::array<char, 4096> chunk{};
        while (got.size() < sent.size()) {
            const ssize_t n = ::recv(peer.get(), chunk.data(), chunk.size(), 0);
            if (n <= 0) return;
            got.append(chunk.data(), static_cast<std::size_t>(n));
        }
    }};
    EXPECT_TRUE(stream->drain(std::chrono::seconds{20}));
    reader.join();
    EXPECT_EQ(got, sent);
}

TEST_F(ConsoleStreamTest, DrainGivesUpAtItsLimit) {
    fill();
    EXPECT_FALSE(stream->drain(std::chrono::milliseconds{1}));
}

TEST_F(ConsoleStreamTest, LinesOfTwoThreadsStayWhole) {
    constexpr std::size_t kLines = 2000;
    std::string got;
    {
        std::vector<std::jthread> writers;
        for (const char c : {'a', 'b'}) {
            writers.emplace_back([&, c] {
                for (std::size_t i = 0; i < kLines; ++i) {
                    while (!stream->ready()) std::this_thread::yield();
                    put(std::string(7, c) + "\n");
                }
            });
        }
        while (got.size() < 2 * kLines * 8) {
            got += take(4096);
            turn();
        }
    }
    for (std::size_t at = 0; at < got.size(); at += 8) {
        const std::string line = got.substr(at, 8);
        ASSERT_TRUE(line == "aaaaaaa\n" || line == "bbbbbbb\n") << line;
    }
}

}  // namespace
}  // namespace holdfast::legacy
