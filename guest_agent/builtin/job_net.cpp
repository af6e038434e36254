// SPDX-License-Identifier: Apache-2.0
// net: raw Ethernet frames through virtio-net (virtio 1.2 §5.1), no offloads. mode=arp asks who has
// an address (RFC 826), mode=tx sends broadcast frames, mode=echo returns what arrives to its
// sender.

#include <algorithm>
#include <array>

#include "guest_agent/builtin/boot.hpp"
#include "guest_agent/builtin/clock.hpp"
#include "guest_agent/builtin/console.hpp"
#include "guest_agent/builtin/jobs.hpp"
#include "guest_agent/builtin/virtio.hpp"

namespace holdfast::builtin::jobs {
namespace {

constexpr u64 kMacFeature = u64{1} << 5;
constexpr u16 kReceive = 0, kTransmit = 1;
constexpr u32 kNetHeader = 12;
constexpr u32 kFrame = 1514;
constexpr u32 kBuffer = 2048;
constexpr u16 kReceiveBuffers = 32;

using Mac = std::array<u8, 6>;
using Ip = std::array<u8, 4>;

/// Ethernet and ARP for IPv4 in one, as sent: all fields are bytes.
struct Arp {
    Mac to, from;
    std::array<u8, 2> ether_type{0x08, 0x06};
    std::array<u8, 6> kind{0, 1, 8, 0, 6, 4};
    std::array<u8, 2> operation{0, 1};
    Mac sender_mac;
    Ip sender_ip;
    Mac target_mac{};
    Ip target_ip;
};
static_assert(sizeof(Arp) == 42 && alignof(Arp) == 1);

struct Net {
    virtio::Device device = virtio::Device::get(virtio::type::Net);
    virtio::Queue receive, transmit;
    Mac mac{0x02, 0, 0, 0, 0, 0x0f};
    u64 out = 0;
    std::array<u64, virtio::Queue::kMaxSize> buffers{};  // by descriptor

    Net() {
        const u64 features = device.negotiate(kMacFeature | virtio::feature::EventIdx);
        device.enable_queue(kReceive, receive);
        device.enable_queue(kTransmit, transmit);
        device.drive();
        if ((features & kMacFeature) != 0) {
            for (u32 i = 0; i < mac.size(); ++i) mac[i] = device.config<u8>(i);
        }
        out = memory::take(kBuffer);
        const u64 in = memory::take(u64{kReceiveBuffers} * kBuffer);
        const u16 count = std::min(kReceiveBuffers, receive.size());
        for (u16 i = 0; i < count; ++i) offer(in + u64{i} * kBuffer);
    }

    void offer(u64 buffer) {
        const auto head = receive.add(std::array{virtio::Segment{buffer, kBuffer, true}});
        if (!head) fail("receive queue full");
        buffers[*head] = buffer;
        device.kick(kReceive, receive);
    }

    /// Sends `length` bytes that stand at frame().
    void send(u32 length) {
        std::memset(pointer<void>(out), 0, kNetHeader);
        transmit.add(std::array{virtio::Segment{out, kNetHeader + length, false}});
        device.kick(kTransmit, transmit);
        if (!device.wait(transmit)) fail("the network device does not send");
    }
    [[nodiscard]] u8* frame() const { return pointer<u8>(out + kNetHeader); }

    /// Waits for a frame, calls `use(bytes, length)`, and gives the buffer back. False if none
    /// comes.
    template <typename Use>
    bool take_frame(bool forever, Use use) {
        std::optional<virtio::Used> used;
        do {
            used = device.wait(receive);
        } while (!used && forever && !device.needs_reset());
        if (!used) return false;
        const u64 buffer = buffers[used->head];
        if (used->length < kNetHeader + 14 || used->length > kBuffer) {
            fail("received a frame of ", used->length);
        }
        use(pointer<const u8>(buffer + kNetHeader), used->length - kNetHeader);
        offer(buffer);
        return true;
    }
};

Ip address(std::string_view key, Ip otherwise) {
    const auto text = boot::option(key);
    if (!text) return otherwise;
    Ip ip{};
    std::size_t part = 0;
    for (const char c : *text) {
        if (c == '.') {
            ++part;
        } else if (part < ip.size() && c >= '0' && c <= '9') {
            ip[part] = static_cast<u8>(ip[part] * 10 + (c - '0'));
        } else {
            part = 99;
        }
    }
    if (part != 3) fail(key, " is not an IPv4 address");
    return ip;
}

void arp(Net& net) {
    const Ip target = address("ip", {10, 0, 2, 2});
    Mac everyone;
    everyone.fill(0xff);
    const Arp question{.to = everyone,
                       .from = net.mac,
                       .sender_mac = net.mac,
                       .sender_ip = address("from", {10, 0, 2, 15}),
                       .target_ip = target};
    std::memset(net.frame(), 0, 60);
    std::memcpy(net.frame(), &question, sizeof question);
    net.send(60);
    bool answered = false;
    for (int frames = 0; frames < 100 && !answered; ++frames) {
        const bool came = net.take_frame(false, [&](const u8* bytes, u32 length) {
            if (length < sizeof(Arp)) return;
            Arp answer{};
            std::memcpy(&answer, bytes, sizeof answer);
            if (answer.ether_type != question.ether_type || answer.operation[1] != 2) return;
            if (answer.sender_ip != target) return;
            answered = true;
            print("answer_from=");
            for (const u8 b : answer.sender_mac) print(Hex{b, 2});
            print("\n");
        });
        if (!came) break;
    }
    if (!answered) fail("nobody answers for that address");
}

void transmit(Net& net, u64 count, u32 size) {
    std::memset(net.frame(), 0xff, 6);
    std::memcpy(net.frame() + 6, net.mac.data(), net.mac.size());
    net.frame()[12] = 0x88;  // IEEE 802 local experimental ethertype 1
    net.frame()[13] = 0xb5;
    for (u32 i = 14; i < size; ++i) net.frame()[i] = static_cast<u8>(i);
    const u64 start = cycles();
    for (u64 i = 0; i < count; ++i) net.send(size);
    print("frames=", count, "\n");
    clock::report(cycles() - start, count, "frame");
}

void echo(Net& net, u64 count) {
    print("echoing\n");
    for (u64 i = 0; i < count; ++i) {
        u32 size = 0;
        const bool came = net.take_frame(true, [&](const u8* bytes, u32 length) {
            size = std::min(length, kFrame);
            std::memcpy(net.frame(), bytes, size);
        });
        if (!came) fail("the network device asks for reset");
        std::memcpy(net.frame(), net.frame() + 6, 6);
        std::memcpy(net.frame() + 6, net.mac.data(), net.mac.size());
        net.send(size);
    }
    print("echoed=", count, "\n");
}

}  // namespace

void net() {
    Net net;
    print("mac=");
    for (const u8 b : net.mac) print(Hex{b, 2});
    print("\n");
    const auto mode = boot::option("mode", "arp");
    const u64 size = boot::number("size", 60);
    if (size < 14 || size > kFrame) fail("size must be 14 to ", kFrame);
    if (mode == "arp") {
        arp(net);
    } else if (mode == "tx") {
        transmit(net, boot::number("count", 1), static_cast<u32>(size));
    } else if (mode == "echo") {
        echo(net, boot::number("count", 1));
    } else {
        fail("mode is arp, tx or echo, not ", mode);
    }
}

}  // namespace holdfast::builtin::jobs
