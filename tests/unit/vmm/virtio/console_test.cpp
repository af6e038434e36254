// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/console.hpp"

#include <array>
#include <string>

#include <sys/epoll.h>
#include <sys/socket.h>

#include <gtest/gtest.h>

#include "tests/unit/vmm/virtio/fake_driver.hpp"

namespace holdfast::virtio {
namespace {

class ConsoleTest : public testing::Test {
protected:
    ConsoleTest() {
        std::array<int, 2> ends{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
        outside = UniqueFd{ends[0]};
        console = std::make_unique<Console>(board.memory, UniqueFd{ends[1]});
        transport = &board.plug(1, *console);
        driver.emplace(board, 1);
        driver->begin();
        input = driver->enable(0, 16, 0x100000);
        output = driver->enable(1, 16, 0x120000);
        driver->finish();
    }
    std::string take(std::size_t most) const {
        std::string text(most, '\0');
        const ssize_t got = ::recv(outside.get(), text.data(), text.size(), MSG_DONTWAIT);
        text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
        return text;
    }
    void run() {  // what the worker does when the socket is ready
        transport->run();
        transport->publish();
    }
    Board board;
    UniqueFd outside;
    std::unique_ptr<Console> console;
    PciTransport* transport = nullptr;
    std::optional<FakeDriver> driver;
    DriverQueue input;
    DriverQueue output;
};

TEST_F(ConsoleTest, OutputComesOutInOrder) {
    const std::string text = "hello, world";
    board.memory.write(GuestAddr{0x200000}, std::as_bytes(std::span{text})).value();
    output.describe(0, 0x200000, 7, spec::DESC_F_NEXT, 1);
    output.describe(1, 0x200007, 5);
    output.offer(0);
    driver->kick(1);
    board.turn();
    EXPECT_EQ(take(100), text);
    EXPECT_EQ(output.used_index(), 1);
    EXPECT_EQ(driver->interrupts(2), 1);
}

TEST_F(ConsoleTest, ChainStaysUnfinishedUntilItsBytesAreTaken) {
    constexpr std::uint32_t kBytes = 8U << 20;  // more than a socket holds
    output.describe(0, 0x400000, kBytes);
    output.offer(0);
    driver->kick(1);
    board.turn();
    for (int i = 0; i < 1000; ++i) run();
    EXPECT_EQ(output.used_index(), 0);
    EXPECT_EQ(console->watch().events & EPOLLOUT, static_cast<unsigned>(EPOLLOUT));
    std::size_t taken = 0;
    for (int i = 0; i < 10000 && output.used_index() == 0; ++i) {
        taken += take(65536).size();
        run();
    }
    while (const std::size_t more = take(65536).size()) taken += more;
    EXPECT_EQ(taken, kBytes);
    EXPECT_EQ(output.used_index(), 1);
    EXPECT_EQ(console->watch().events & EPOLLOUT, 0U);
}

TEST_F(ConsoleTest, InputWaitsForABufferAndIsCutToIt) {
    ASSERT_EQ(::send(outside.get(), "abcdef", 6, 0), 6);
    board.turn();
    EXPECT_EQ(console->watch().events & EPOLLIN, 0U);
    input.describe(0, 0x200000, 4, spec::DESC_F_WRITE);
    input.describe(1, 0x200010, 4, spec::DESC_F_WRITE);
    input.offer(0);
    input.offer(1);
    driver->kick(0);
    board.turn();
    EXPECT_EQ(input.used_index(), 2);
    EXPECT_EQ(input.used_element(0).len.get(), 4U);
    EXPECT_EQ(input.used_element(1).len.get(), 2U);
    EXPECT_EQ(board.memory.read_value<std::uint32_t>(GuestAddr{0x200000}).value(), 0x64636261U);
}

TEST_F(ConsoleTest, OutputIsDroppedWhenNobodyIsThereAnyMore) {
    outside.reset();
    output.describe(0, 0x200000, 5);
    output.offer(0);
    driver->kick(1);
    board.turn();
    EXPECT_EQ(output.used_index(), 1);
    EXPECT_EQ(console->watch().events, 0U);
}

}  // namespace
}  // namespace holdfast::virtio
