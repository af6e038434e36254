// SPDX-License-Identifier: Apache-2.0
// vsock: one stream to or from the host (virtio 1.2 §5.10), whose bytes are sent back until the
// host is done. mode=connect (the default) calls the host's port, mode=listen waits to be called.

#include <algorithm>
#include <array>

#include "guest_agent/builtin/boot.hpp"
#include "guest_agent/builtin/console.hpp"
#include "guest_agent/builtin/jobs.hpp"
#include "guest_agent/builtin/virtio.hpp"
#include "guest_agent/builtin/vsock.hpp"

namespace holdfast::builtin::jobs {
namespace {

using namespace vsock;

constexpr u16 kReceive = 0, kTransmit = 1, kEvent = 2;
constexpr u32 kBuffer = 4096;
constexpr u16 kReceiveBuffers = 64;
constexpr u32 kCredit = 32 * 1024;  // far less than the buffers hold: there is room for credit updates
constexpr u32 kOurPort = 1024;

struct Socket {
    virtio::Device device = virtio::Device::get(virtio::type::Socket);
    virtio::Queue receive, transmit, event;
    std::array<u64, virtio::Queue::kMaxSize> buffers{};  // by descriptor
    u64 out = 0;
    u64 cid = 0;
    u32 our_port = 0, host_port = 0;
    u32 forwarded = 0;  // bytes of the host's that were used up
    u32 sent = 0;
    u32 host_credit = 0, host_forwarded = 0;

    Socket() {
        device.negotiate(virtio::feature::EventIdx);
        device.enable_queue(kReceive, receive);
        device.enable_queue(kTransmit, transmit);
        device.enable_queue(kEvent, event);
        device.drive();
        cid = device.config<u32>(0) | u64{device.config<u32>(4)} << 32;
        out = memory::take(sizeof(Header) + kBuffer);
        const u64 in = memory::take(u64{kReceiveBuffers} * kBuffer);
        for (u16 i = 0; i < kReceiveBuffers; ++i) offer(in + u64{i} * kBuffer);
    }

    void offer(u64 buffer) {
        const auto head = receive.add(std::array{virtio::Segment{buffer, kBuffer, true}});
        if (!head) fail("receive queue full");
        buffers[*head] = buffer;
        device.kick(kReceive, receive);
    }

    void send(u16 operation, u32 length = 0, u32 flags = 0) {
        *pointer<Header>(out) = {.src_cid = cid,
                                 .dst_cid = kHost,
                                 .src_port = our_port,
                                 .dst_port = host_port,
                                 .len = length,
                                 .type = kStream,
                                 .op = operation,
                                 .flags = flags,
                                 .buf_alloc = kCredit,
                                 .fwd_cnt = forwarded};
        const auto size = static_cast<u32>(sizeof(Header)) + length;
        transmit.add(std::array{virtio::Segment{out, size, false}});
        device.kick(kTransmit, transmit);
        if (!device.wait(transmit)) fail("the socket device does not send");
    }

    /// A packet whose data is valid until its buffer is offered again.
    struct Packet {
        Header header;
        u64 data, buffer;
    };
    Packet arrival() {
        std::optional<virtio::Used> used;
        while (!(used = receive.poll())) pause();
        const u64 buffer = buffers[used->head];
        const auto header = load<Header>(buffer);
        if (used->length < sizeof(Header) || header.len > used->length - sizeof(Header)) {
            fail("socket packet of ", used->length, " announces ", header.len);
        }
        host_credit = header.buf_alloc;
        host_forwarded = header.fwd_cnt;
        return {header, buffer + sizeof(Header), buffer};
    }
    Packet next() {
        if (waiting_first == waiting_last) return arrival();
        return waiting[waiting_first++ % waiting.size()];
    }
    /// What else arrives meanwhile waits its turn; there are no more packets than buffers.
    void wait_for_room(u32 length) {
        while (room() < length) {
            const Packet packet = arrival();
            if (packet.header.op == op::CreditUpdate) {
                offer(packet.buffer);
            } else {
                waiting[waiting_last++ % waiting.size()] = packet;
            }
        }
    }
    std::array<Packet, kReceiveBuffers> waiting{};
    u32 waiting_first = 0, waiting_last = 0;

    [[nodiscard]] u32 room() const { return host_credit - (sent - host_forwarded); }
};

void open(Socket& socket, bool listen, u32 port) {
    if (listen) {
        socket.our_port = port;
        print("listening\n");
    } else {
        socket.our_port = kOurPort;
        socket.host_port = port;
        socket.send(op::Request);
    }
    for (;;) {
        const auto packet = socket.next();
        const Header& h = packet.header;
        socket.offer(packet.buffer);
        if (h.dst_port != socket.our_port) continue;
        if (listen && h.op == op::Request) {
            socket.host_port = h.src_port;
            socket.send(op::Response);
            return;
        }
        if (!listen && h.op == op::Response) return;
        if (h.op == op::Rst) fail("the host refuses port ", port);
    }
}

void send_back(Socket& socket, u64 data, u32 length) {
    socket.wait_for_room(length);
    std::memcpy(pointer<void>(socket.out + sizeof(Header)), pointer<void>(data), length);
    socket.send(op::Rw, length);
    socket.sent += length;
}

}  // namespace

void vsock_job() {
    const auto mode = boot::option("mode", "connect");
    if (mode != "connect" && mode != "listen") fail("mode is connect or listen, not ", mode);
    Socket socket;
    print("cid=", socket.cid, "\n");
    open(socket, mode == "listen", static_cast<u32>(boot::number("port", 5000)));
    print("connected\n");
    u64 echoed = 0;
    for (bool is_open = true; is_open;) {
        const auto packet = socket.next();
        const Header& h = packet.header;
        if (h.dst_port == socket.our_port && h.src_port == socket.host_port) {
            switch (h.op) {
                case op::Rw:
                    socket.forwarded += h.len;
                    send_back(socket, packet.data, h.len);
                    echoed += h.len;
                    break;
                case op::CreditRequest: socket.send(op::CreditUpdate); break;
                case op::Shutdown:
                    socket.send(op::Rst);
                    is_open = false;
                    break;
                case op::Rst: is_open = false; break;
                default: break;
            }
        }
        socket.offer(packet.buffer);
    }
    print("echoed=", echoed, "\n");
}

}  // namespace holdfast::builtin::jobs
