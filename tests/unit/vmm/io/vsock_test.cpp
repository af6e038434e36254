// SPDX-License-Identifier: Apache-2.0
#include "vmm/io/vsock.hpp"

#include <deque>

#include "tests/unit/vmm/io/vm.hpp"

namespace holdfast::io {
namespace {

using namespace std::chrono_literals;
using test::must;

constexpr std::uint32_t kGuestPort = 5000;
constexpr std::uint32_t kHostPort = 1024;
constexpr std::uint32_t kGuestCredit = 256 * 1024;

/// What the guest sees of one packet.
struct Seen {
    std::uint16_t op = 0;
    std::uint32_t src_port = 0;
    std::uint32_t dst_port = 0;
    std::uint32_t flags = 0;
    std::uint32_t fwd_cnt = 0;
    std::uint32_t buf_alloc = 0;
    std::string payload;
};

struct IoVsock : testing::Test, VsockHost {
    test::Shared shared;
    std::unique_ptr<Client> client = shared.client();
    RequestRing ring = must(RequestRing::create(shared.memory, EventFd{must(shared.requests.duplicate())},
                                                EventFd{must(shared.completions.duplicate())}));
    std::string path = "/tmp/hf-vsock-test-" + std::to_string(::getpid());
    UniqueFd listener = must(listen_unix(path));
    std::optional<Vsock> vsock;
    Vsock::Clock::time_point now = Vsock::Clock::now();
    std::vector<std::uint32_t> watched;
    std::deque<VsockConnect> asked;
    bool launcher_full = false;
    std::deque<Seen> packets;
    int buffers = 0;  ///< Receive requests under way

    void SetUp() override { vsock.emplace(must(Vsock::create(must(listener.duplicate()), ring, *this))); }
    void TearDown() override { ::unlink(path.c_str()); }
    Result<void> watch_stream(const UniqueFd&, std::uint32_t id) override {
        watched.push_back(id);
        return {};
    }
    Result<void> ask_for_connection(const VsockConnect& request) override {
        if (launcher_full) return Error{Fault::Os, EAGAIN, "send message"};
        asked.push_back(request);
        return {};
    }

    void serve() {
        vsock->listener_event();
        for (const std::uint32_t id : watched) vsock->event(id, EPOLLIN | EPOLLOUT);
        while (const auto job = must(ring.take())) vsock->start(*job, now);
        while (vsock->turn(now)) {
        }
        ring.publish();
        while (auto completion = must(client->next_completion())) {
            if (completion->op != Op::Receive) continue;
            --buffers;
            VsockPacket header;
            const auto bytes = completion->slot.bytes(completion->length);
            std::memcpy(&header, bytes.data(), sizeof header);
            EXPECT_EQ(header.len.get(), bytes.size() - sizeof header);
            EXPECT_EQ(header.type.get(), vsock::TYPE_STREAM);
            packets.push_back({.op = header.op.get(),
                               .src_port = header.src_port.get(),
                               .dst_port = header.dst_port.get(),
                               .flags = header.flags.get(),
                               .fwd_cnt = header.fwd_cnt.get(),
                               .buf_alloc = header.buf_alloc.get(),
                               .payload = test::as_text(bytes.subspan(sizeof header))});
        }
    }
    /// The guest has `count` buffers from now on, whatever it has used of those before.
    void give_buffers(int count, std::uint32_t size = 8192) {
        for (; buffers < count; ++buffers) {
            auto slot = client->take_slot();
            ASSERT_TRUE(slot);
            test::submit(*client,
                         {.op = Op::Receive, .resource = kVsock, .length = size, .slot = std::move(*slot)});
        }
    }
    void send(VsockPacket header, std::string_view payload = {}) {
        if (header.len.get() == 0) header.len = static_cast<std::uint32_t>(payload.size());
        header.buf_alloc = kGuestCredit;
        send_exactly(header, payload);
    }
    void send_exactly(const VsockPacket& header, std::string_view payload = {}) {
        auto slot = client->take_slot();
        ASSERT_TRUE(slot);
        const auto bytes = slot->bytes(sizeof header + payload.size());
        std::memcpy(bytes.data(), &header, sizeof header);
        if (!payload.empty()) std::memcpy(bytes.data() + sizeof header, payload.data(), payload.size());
        test::submit(*client, {.op = Op::Send,
                               .resource = kVsock,
                               .length = static_cast<std::uint32_t>(bytes.size()),
                               .slot = std::move(*slot)});
        serve();
    }
    static VsockPacket packet(std::uint16_t op, std::uint32_t host_port = kHostPort,
                              std::uint32_t flags = 0) {
        return {.src_port = kGuestPort,
                .dst_port = host_port,
                .flags = flags,
                .op = op,
                .type = vsock::TYPE_STREAM};
    }
    /// The next packet for the guest, or one that is nothing.
    Seen next() {
        serve();
        if (packets.empty()) return {};
        Seen seen = packets.front();
        packets.pop_front();
        return seen;
    }
    /// The guest connects; the host program's end comes back.
    UniqueFd connect_from_guest() {
        give_buffers(16);
        send(packet(vsock::OP_REQUEST));
        EXPECT_EQ(asked.size(), 1U);
        auto pair = must(socket_pair(SOCK_STREAM));
        vsock->answer({.token = asked.front().token, .stream = std::move(pair.second)}, now);
        asked.pop_front();
        EXPECT_EQ(next().op, vsock::OP_RESPONSE);
        must(set_nonblocking(pair.first));
        return std::move(pair.first);
    }
    std::string read_some(const UniqueFd& fd) {
        std::array<char, 65536> bytes;
        const ssize_t got = ::read(fd.get(), bytes.data(), bytes.size());
        return got > 0 ? std::string(bytes.data(), static_cast<std::size_t>(got)) : std::string{};
    }
};

TEST_F(IoVsock, GuestConnectsThroughTheCommandLine) {
    const UniqueFd host = connect_from_guest();
    send(packet(vsock::OP_RW), "hello host");
    EXPECT_EQ(read_some(host), "hello host");
    must(write_all(host, test::as_vector("hello guest")));
    const Seen seen = next();
    EXPECT_EQ(seen.op, vsock::OP_RW);
    EXPECT_EQ(seen.payload, "hello guest");
    EXPECT_EQ(seen.src_port, kHostPort);
    EXPECT_EQ(seen.dst_port, kGuestPort);
    EXPECT_EQ(seen.fwd_cnt, 10U);
    EXPECT_EQ(seen.buf_alloc, Vsock::kBufAlloc);
}

TEST_F(IoVsock, AskForTheRightPortAndRefusalIsAReset) {
    give_buffers(1);
    send(packet(vsock::OP_REQUEST));
    ASSERT_EQ(asked.size(), 1U);
    EXPECT_EQ(asked.front().port, kHostPort);
    vsock->answer({.token = asked.front().token, .stream = {}}, now);
    EXPECT_EQ(next().op, vsock::OP_RST);
    EXPECT_EQ(vsock->connections(), 0U);
}

TEST_F(IoVsock, CommandLineThatIsBusyIsAReset) {
    launcher_full = true;
    give_buffers(1);
    send(packet(vsock::OP_REQUEST));
    EXPECT_EQ(next().op, vsock::OP_RST);
}

TEST_F(IoVsock, AnswerThatComesTooLateIsClosed) {
    give_buffers(1);
    send(packet(vsock::OP_REQUEST));
    send(packet(vsock::OP_RST));
    EXPECT_EQ(vsock->connections(), 0U);
    auto pair = must(socket_pair(SOCK_STREAM));
    vsock->answer({.token = asked.front().token, .stream = std::move(pair.second)}, now);
    std::byte byte{};
    EXPECT_EQ(::read(pair.first.get(), &byte, 1), 0);
}

TEST_F(IoVsock, HostClientSaysConnectAndHearsOk) {
    give_buffers(4);
    const UniqueFd host = must(connect_unix(path));
    must(write_all(host, test::as_vector("CONNECT 52\nearly bytes")));
    const Seen request = next();
    ASSERT_EQ(request.op, vsock::OP_REQUEST);
    EXPECT_EQ(request.dst_port, 52U);
    EXPECT_GE(request.src_port, 0x40000000U);
    VsockPacket response = packet(vsock::OP_RESPONSE, request.src_port);
    response.src_port = 52;
    send(response);
    EXPECT_EQ(read_some(host), "OK " + std::to_string(request.src_port) + "\n");
    const Seen data = next();
    EXPECT_EQ(data.op, vsock::OP_RW);
    EXPECT_EQ(data.payload, "early bytes") << "what follows the greeting is the guest's";
}

TEST_F(IoVsock, GreetingMayComeInPieces) {
    give_buffers(1);
    const UniqueFd host = must(connect_unix(path));
    for (const char* piece : {"CONN", "ECT 5", "2", "\n"}) {
        serve();
        EXPECT_TRUE(packets.empty());
        must(write_all(host, test::as_vector(piece)));
    }
    EXPECT_EQ(next().op, vsock::OP_REQUEST);
}

TEST_F(IoVsock, GarbageInsteadOfAGreetingIsDropped) {
    for (const char* garbage :
         {"GET / HTTP/1.0\n", "CONNECT \n", "CONNECT -1\n", "CONNECT 4294967296\n", "CONNECT 4294967295\n",
          "CONNECT 5 2\n", "\n", "CONNECT 000000000000000000000000000000052"}) {
        const UniqueFd host = must(connect_unix(path));
        must(write_all(host, test::as_vector(garbage)));
        serve();
        serve();
        std::byte byte{};
        must(set_nonblocking(host));
        const ssize_t got = ::read(host.get(), &byte, 1);
        // Unread bytes of ours make the kernel say ECONNRESET instead of end of file.
        EXPECT_TRUE(got == 0 || (got < 0 && errno == ECONNRESET)) << garbage;
        EXPECT_EQ(vsock->connections(), 0U) << garbage;
    }
}

TEST_F(IoVsock, ClientThatSaysNothingIsDroppedInTime) {
    const UniqueFd host = must(connect_unix(path));
    serve();
    EXPECT_EQ(vsock->connections(), 1U);
    ASSERT_TRUE(vsock->deadline());
    now = *vsock->deadline();
    EXPECT_TRUE(vsock->turn(now));
    EXPECT_EQ(vsock->connections(), 0U);
}

TEST_F(IoVsock, GuestThatDoesNotAnswerIsGivenUp) {
    give_buffers(2);
    const UniqueFd host = must(connect_unix(path));
    must(write_all(host, test::as_vector("CONNECT 52\n")));
    EXPECT_EQ(next().op, vsock::OP_REQUEST);
    now += Vsock::kPatience + 1s;
    EXPECT_EQ(next().op, vsock::OP_RST);
    EXPECT_EQ(vsock->connections(), 0U);
}

TEST_F(IoVsock, ConnectionsAreBounded) {
    std::vector<UniqueFd> hosts;
    for (std::size_t i = 0; i < Vsock::kMaxConnections; i += 8) {
        for (int j = 0; j < 8; ++j) hosts.push_back(must(connect_unix(path)));  // the backlog holds 16
        serve();
    }
    EXPECT_EQ(vsock->connections(), Vsock::kMaxConnections);
    hosts.push_back(must(connect_unix(path)));
    give_buffers(1);
    send(packet(vsock::OP_REQUEST));
    EXPECT_EQ(next().op, vsock::OP_RST);
    EXPECT_EQ(vsock->connections(), Vsock::kMaxConnections);
    hosts.erase(hosts.begin());
    serve();
    EXPECT_EQ(vsock->connections(), Vsock::kMaxConnections) << "the one in the queue takes the free place";
}

TEST_F(IoVsock, CreditHoldsTheHostBackAndMoreCreditLetsItGo) {
    const UniqueFd host = connect_from_guest();
    VsockPacket small = packet(vsock::OP_CREDIT_UPDATE);
    small.buf_alloc = 10U;
    send_exactly(small);
    must(write_all(host, test::as_vector("0123456789abc")));
    EXPECT_EQ(next().payload, "0123456789");
    const Seen request = next();
    EXPECT_EQ(request.op, vsock::OP_CREDIT_REQUEST);
    EXPECT_EQ(next().op, 0) << "asks once, then waits";
    small.fwd_cnt = 10U;
    send_exactly(small);
    EXPECT_EQ(next().payload, "abc");
}

TEST_F(IoVsock, GuestHearsOfCreditWhenTheHostHasRead) {
    const UniqueFd host = connect_from_guest();
    const std::string block(16 * 1024, 'x');
    send(packet(vsock::OP_RW), block);
    EXPECT_EQ(next().op, 0);
    send(packet(vsock::OP_RW), block);
    const Seen update = next();
    EXPECT_EQ(update.op, vsock::OP_CREDIT_UPDATE);
    EXPECT_EQ(update.fwd_cnt, 32U * 1024);
}

TEST_F(IoVsock, CreditRequestIsAnswered) {
    const UniqueFd host = connect_from_guest();
    send(packet(vsock::OP_CREDIT_REQUEST));
    const Seen update = next();
    EXPECT_EQ(update.op, vsock::OP_CREDIT_UPDATE);
    EXPECT_EQ(update.buf_alloc, Vsock::kBufAlloc);
}

TEST_F(IoVsock, BytesForAHostThatDoesNotReadAreKeptUpToTheCreditThenReset) {
    const UniqueFd host = connect_from_guest();
    const std::string block(32 * 1024, 'x');
    std::size_t sent = 0;
    Seen seen;
    // The socket takes a few, then kBufAlloc are kept; no guest that respects its credit sends
    // more.
    while (sent < 16U << 20 && seen.op != vsock::OP_RST) {
        send(packet(vsock::OP_RW), block);
        sent += block.size();
        give_buffers(1);
        seen = next();
    }
    EXPECT_EQ(seen.op, vsock::OP_RST);
    EXPECT_LT(sent, 2U << 20);
}

TEST_F(IoVsock, EverythingArrivesThroughAFullSocket) {
    const UniqueFd host = connect_from_guest();
    std::string expected;
    std::string got;
    std::uint32_t fwd_cnt = 0;
    while (expected.size() < 4U << 20) {
        const std::string block(8192, static_cast<char>('a' + expected.size() / 8192 % 26));
        if (expected.size() - fwd_cnt + block.size() <= Vsock::kBufAlloc) {
            send(packet(vsock::OP_RW), block);
            expected += block;
        } else {
            got += read_some(host);
            serve();
        }
        give_buffers(1);
        while (true) {
            const Seen seen = next();
            if (seen.op == 0) break;
            ASSERT_EQ(seen.op, vsock::OP_CREDIT_UPDATE);
            fwd_cnt = seen.fwd_cnt;
        }
    }
    while (got.size() < expected.size()) {
        const std::string more = read_some(host);
        serve();
        ASSERT_FALSE(more.empty());
        got += more;
    }
    EXPECT_TRUE(got == expected);
}

TEST_F(IoVsock, HostsHalfCloseReachesTheGuestAndTheOtherHalfGoesOn) {
    const UniqueFd host = connect_from_guest();
    must(write_all(host, test::as_vector("bye")));
    ::shutdown(host.get(), SHUT_WR);
    EXPECT_EQ(next().payload, "bye");
    const Seen shutdown = next();
    EXPECT_EQ(shutdown.op, vsock::OP_SHUTDOWN);
    EXPECT_EQ(shutdown.flags, vsock::SHUTDOWN_F_SEND);
    send(packet(vsock::OP_RW), "still here");
    EXPECT_EQ(read_some(host), "still here");
}

TEST_F(IoVsock, GuestsHalfCloseReachesTheHostAfterItsBytes) {
    const UniqueFd host = connect_from_guest();
    send(packet(vsock::OP_RW), "last");
    send(packet(vsock::OP_SHUTDOWN, kHostPort, vsock::SHUTDOWN_F_SEND));
    EXPECT_EQ(read_some(host), "last");
    std::byte byte{};
    EXPECT_EQ(::read(host.get(), &byte, 1), 0);
    must(write_all(host, test::as_vector("answer")));
    EXPECT_EQ(next().payload, "answer");
}

TEST_F(IoVsock, FullShutdownIsAnsweredWithReset) {
    const UniqueFd host = connect_from_guest();
    send(packet(vsock::OP_SHUTDOWN, kHostPort, vsock::SHUTDOWN_F_SEND | vsock::SHUTDOWN_F_RECEIVE));
    EXPECT_EQ(next().op, vsock::OP_RST);
    EXPECT_EQ(vsock->connections(), 0U);
    std::byte byte{};
    EXPECT_EQ(::read(host.get(), &byte, 1), 0);
}

TEST_F(IoVsock, HostThatIsGoneShutsBothWaysDown) {
    UniqueFd host = connect_from_guest();
    must(write_all(host, test::as_vector("bye")));
    host.reset();
    for (const std::uint32_t id : watched) vsock->event(id, EPOLLIN | EPOLLHUP);
    EXPECT_EQ(next().payload, "bye");
    const Seen shutdown = next();
    EXPECT_EQ(shutdown.op, vsock::OP_SHUTDOWN);
    EXPECT_EQ(shutdown.flags, vsock::SHUTDOWN_F_SEND | vsock::SHUTDOWN_F_RECEIVE);
    send(packet(vsock::OP_RST));
    EXPECT_EQ(vsock->connections(), 0U);
}

TEST_F(IoVsock, GuestThatIgnoresAShutdownIsResetInTime) {
    UniqueFd host = connect_from_guest();
    host.reset();
    for (const std::uint32_t id : watched) vsock->event(id, EPOLLIN | EPOLLHUP);
    EXPECT_EQ(next().op, vsock::OP_SHUTDOWN);
    now += Vsock::kPatience + 1s;
    EXPECT_EQ(next().op, vsock::OP_RST);
    EXPECT_EQ(vsock->connections(), 0U);
}

// Guest against host: nothing here may end the process or keep anything.

TEST_F(IoVsock, PacketsOfNoConnectionAreReset) {
    for (const std::uint16_t op : std::initializer_list<std::uint16_t>{0, 2, 4, 5, 6, 7, 8, 65535}) {
        give_buffers(1);
        send(packet(op));
        EXPECT_EQ(next().op, vsock::OP_RST) << op;
    }
    give_buffers(1);
    send(packet(vsock::OP_RST));
    EXPECT_EQ(next().op, 0) << "a reset is not answered";
}

TEST_F(IoVsock, UnknownTypeIsReset) {
    give_buffers(1);
    VsockPacket header = packet(vsock::OP_REQUEST);
    header.type = std::uint16_t{2};
    send(header);
    EXPECT_EQ(next().op, vsock::OP_RST);
    EXPECT_TRUE(asked.empty());
}

TEST_F(IoVsock, LengthBeyondTheSlotResetsTheConnection) {
    const UniqueFd host = connect_from_guest();
    VsockPacket header = packet(vsock::OP_RW);
    header.len = 0xffffffffU;
    send(header, "x");
    EXPECT_EQ(next().op, vsock::OP_RST);
    EXPECT_EQ(read_some(host), "");
}

TEST_F(IoVsock, SecondRequestOnAnOpenConnectionResetsIt) {
    const UniqueFd host = connect_from_guest();
    send(packet(vsock::OP_REQUEST));
    EXPECT_EQ(next().op, vsock::OP_RST);
    EXPECT_EQ(vsock->connections(), 0U);
}

TEST_F(IoVsock, DataAfterShutdownResets) {
    const UniqueFd host = connect_from_guest();
    send(packet(vsock::OP_SHUTDOWN, kHostPort, vsock::SHUTDOWN_F_SEND));
    send(packet(vsock::OP_RW), "too late");
    EXPECT_EQ(next().op, vsock::OP_RST);
}

TEST_F(IoVsock, ResetsThatNobodyTakesAreBounded) {
    for (std::uint32_t i = 0; i < 1000; ++i) {
        VsockPacket header = packet(vsock::OP_RW);
        header.src_port = i;
        send(header);
    }
    for (int round = 0; round < 4; ++round) {
        give_buffers(32);
        serve();
    }
    EXPECT_LE(packets.size(), 64U);
    EXPECT_GT(packets.size(), 0U);
}

TEST_F(IoVsock, TruncatedHeaderIsIgnored) {
    auto slot = client->take_slot();
    static_cast<void>(slot->bytes(31));
    test::submit(*client, {.op = Op::Send, .resource = kVsock, .length = 31, .slot = std::move(*slot)});
    serve();
    EXPECT_EQ(vsock->connections(), 0U);
}

TEST_F(IoVsock, ReceiveBufferWithoutRoomForAByteIsRefused) {
    auto slot = client->take_slot();
    test::submit(*client, {.op = Op::Receive, .resource = kVsock, .length = 32, .slot = std::move(*slot)});
    while (const auto job = must(ring.take())) vsock->start(*job, now);
    ring.publish();
    EXPECT_EQ(must(client->next_completion())->status, Status::Unsupported);
}

}  // namespace
}  // namespace holdfast::io
