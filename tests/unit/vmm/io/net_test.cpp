// SPDX-License-Identifier: Apache-2.0
#include "vmm/io/net.hpp"

#include <algorithm>
#include <array>

#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "tests/unit/vmm/io/vm.hpp"

namespace holdfast::io {
namespace {

using test::must;

struct IoNet : testing::Test {
    test::Shared shared;
    std::unique_ptr<Client> client = shared.client();
    RequestRing ring = must(RequestRing::create(shared.memory, EventFd{must(shared.requests.duplicate())},
                                                EventFd{must(shared.completions.duplicate())}));
    UniqueFd passt;  ///< passt's end
    std::optional<Net> net;

    void SetUp() override {
        auto pair = must(socket_pair(SOCK_STREAM));
        passt = std::move(pair.first);
        net.emplace(must(Net::create(std::move(pair.second), NetKind::Passt, ring)));
    }
    void serve() {
        net->event(EPOLLIN | EPOLLOUT);
        while (const auto job = must(ring.take())) net->start(*job);
        while (net->turn()) {
        }
        ring.publish();
    }
    void send(std::size_t size, char fill, std::uint64_t cookie = 0) {
        auto slot = client->take_slot();
        ASSERT_TRUE(slot);
        std::memset(slot->bytes(size).data(), fill, size);
        test::submit(*client, {.op = Op::Send,
                               .resource = kNet,
                               .length = static_cast<std::uint32_t>(size),
                               .slot = std::move(*slot),
                               .cookie = cookie});
    }
    void receive(std::uint32_t room) {
        test::submit(
            *client,
            {.op = Op::Receive, .resource = kNet, .length = room, .slot = std::move(*client->take_slot())});
    }
    void from_passt(std::size_t size, char fill) {
        const FrameLength length{static_cast<std::uint32_t>(size)};
        must(write_all(passt, std::as_bytes(std::span{&length, 1})));
        must(write_all(passt, std::vector<std::byte>(size, std::byte(fill))));
    }
    std::optional<Completion> done() { return must(client->next_completion()); }
};

TEST_F(IoNet, FrameOfTheGuestIsSentBehindItsLength) {
    send(60, 'g');
    serve();
    EXPECT_EQ(done()->status, Status::Ok);
    std::array<std::byte, 128> bytes{};
    ASSERT_EQ(::read(passt.get(), bytes.data(), bytes.size()), 64);
    EXPECT_EQ(bytes[3], std::byte{60});
    EXPECT_EQ(bytes[4], std::byte{'g'});
}

TEST_F(IoNet, FramesWaitForBuffersAndArriveInOrder) {
    from_passt(60, 'a');
    from_passt(70, 'b');
    serve();
    EXPECT_FALSE(done());
    receive(2048);
    receive(2048);
    serve();
    auto first = done();
    auto second = done();
    ASSERT_TRUE(first && second);
    EXPECT_EQ(first->length, 60U);
    EXPECT_EQ(first->slot.bytes(60)[59], std::byte{'a'});
    EXPECT_EQ(second->length, 70U);
}

TEST_F(IoNet, FrameLongerThanItsBufferIsCut) {
    receive(100);
    from_passt(1000, 'c');
    serve();
    EXPECT_EQ(done()->length, 100U);
}

TEST_F(IoNet, FullSocketHoldsFramesBackAndLosesNone) {
    constexpr int kFrames = 100;
    for (int i = 0; i < kFrames; ++i)
        send(60'000, static_cast<char>('A' + i % 26), static_cast<std::uint64_t>(i));
    serve();
    int completed = 0;
    std::size_t got = 0;
    std::vector<std::byte> bytes(60'004);
    for (int i = 0; i < kFrames; ++i) {
        for (got = 0; got < bytes.size();) {
            while (done()) ++completed;
            ASSERT_TRUE(test::wait_readable(passt, 1000)) << "frame " << i;
            const ssize_t size = ::read(passt.get(), bytes.data() + got, bytes.size() - got);
            ASSERT_GT(size, 0);
            got += static_cast<std::size_t>(size);
            serve();
        }
        ASSERT_EQ(bytes[4], std::byte(static_cast<char>('A' + i % 26)));
        ASSERT_EQ(bytes[60'003], bytes[4]);
        if (i == 0) {
            EXPECT_LT(completed, kFrames);
        }
    }
    while (done()) ++completed;
    EXPECT_EQ(completed, kFrames);
}

TEST_F(IoNet, BadLengthDropsTheConnectionAndTheGuestGoesOn) {
    receive(2048);
    const FrameLength bad{0x10000000};
    must(write_all(passt, std::as_bytes(std::span{&bad, 1})));
    serve();
    EXPECT_FALSE(done());
    std::array<std::byte, 1> byte{};
    EXPECT_EQ(::read(passt.get(), byte.data(), 1), 0) << "still connected";
    send(60, 'g');
    serve();
    EXPECT_EQ(done()->status, Status::Ok);
}

// libvirt's taps: what the kernel would read and write, on a socket that keeps frames apart.
TEST_F(IoNet, TapsHeaderIsPutBeforeFramesAndTakenOffThem) {
    auto pair = must(socket_pair(SOCK_SEQPACKET));
    net.emplace(must(Net::create(std::move(pair.second), NetKind::TapWithHeader, ring)));
    send(60, 'g');
    receive(2048);
    serve();
    EXPECT_EQ(done()->status, Status::Ok);
    std::array<std::byte, 128> bytes{};
    ASSERT_EQ(::read(pair.first.get(), bytes.data(), bytes.size()), 70);
    EXPECT_TRUE(
        std::all_of(bytes.begin(), bytes.begin() + 10, [](std::byte b) { return b == std::byte{0}; }));
    EXPECT_EQ(bytes[10], std::byte{'g'});
    must(write_all(pair.first, std::span{bytes}.first(9)));  // shorter than its header: no frame
    std::fill(bytes.begin(), bytes.end(), std::byte{'h'});
    must(write_all(pair.first, std::span{bytes}.first(110)));
    serve();
    serve();
    auto frame = done();
    ASSERT_TRUE(frame);
    EXPECT_EQ(frame->length, 100U);
    EXPECT_EQ(frame->slot.bytes(100)[99], std::byte{'h'});
}

TEST_F(IoNet, FramesForAPasstThatDiedAreDropped) {
    passt.reset();
    for (int i = 0; i < 3; ++i) {
        send(60, 'g');
        serve();
        EXPECT_EQ(done()->status, Status::Ok);
    }
}

TEST_F(IoNet, RuntFromTheGuestIsNotSent) {
    send(13, 'g');
    serve();
    EXPECT_EQ(done()->status, Status::Ok);
    EXPECT_FALSE(test::wait_readable(passt, 0));
}

TEST_F(IoNet, DiskRequestForTheNetworkIsUnsupported) {
    test::submit(*client, {.op = Op::Flush, .resource = kNet});
    serve();
    EXPECT_EQ(done()->status, Status::Unsupported);
}

/// A tap that is up, in a network namespace of a child's; -1 where that is not possible.
UniqueFd make_tap() {
    auto pair = must(socket_pair(SOCK_SEQPACKET));
    const pid_t child = ::fork();
    if (child == 0) {
        if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) ::_exit(1);
        const UniqueFd tap{::open("/dev/net/tun", O_RDWR | O_CLOEXEC)};
        ifreq request{};
        std::strcpy(request.ifr_name, "hf0");
        request.ifr_flags = IFF_TAP | IFF_NO_PI;
        if (!tap || ::ioctl(tap.get(), TUNSETIFF, &request) < 0) ::_exit(1);
        const UniqueFd control{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
        request.ifr_flags = IFF_UP;
        if (::ioctl(control.get(), SIOCSIFFLAGS, &request) < 0) ::_exit(1);
        const std::byte one{1};
        const int number = tap.get();
        must(send_message(pair.second, {&one, 1}, {&number, 1}));
        ::_exit(0);
    }
    pair.second.reset();
    Message message = must(receive_message(pair.first, 1));
    ::waitpid(child, nullptr, 0);
    return message.fds.empty() ? UniqueFd{} : std::move(message.fds[0]);
}

TEST_F(IoNet, TapCarriesOneFrameAReadAndAWrite) {
    UniqueFd tap = make_tap();
    if (!tap) GTEST_SKIP() << "no tap in a user namespace here";
    const auto readable = must(tap.duplicate());
    net.emplace(must(Net::create(std::move(tap), NetKind::Tap, ring)));
    send(60, 'g');
    receive(2048);
    // The kernel speaks first: IPv6 multicast reports of an interface that has come up.
    ASSERT_TRUE(test::wait_readable(readable));
    serve();
    auto sent = done();
    auto received = done();
    ASSERT_TRUE(sent && received);
    EXPECT_EQ(sent->op, Op::Send);
    EXPECT_EQ(sent->status, Status::Ok);
    ASSERT_GE(received->length, kMinFrame);
    EXPECT_EQ(received->slot.bytes(1)[0], std::byte{0x33}) << "an IPv6 multicast address";
}

}  // namespace
}  // namespace holdfast::io
