// SPDX-License-Identifier: Apache-2.0
// Jobs that move a few bytes through a device: console (COM1), vconsole (virtio console, virtio 1.2
// §5.3) and rng (§5.4).

#include <algorithm>
#include <array>

#include "guest_agent/builtin/boot.hpp"
#include "guest_agent/builtin/console.hpp"
#include "guest_agent/builtin/jobs.hpp"
#include "guest_agent/builtin/virtio.hpp"

namespace holdfast::builtin::jobs {
namespace {

constexpr u16 kReceive = 0, kTransmit = 1;

void send(const virtio::Device& device, virtio::Queue& queue, u64 address, u32 length) {
    queue.add(std::array{virtio::Segment{address, length, false}});
    device.kick(kTransmit, queue);
    if (!device.wait(queue)) fail("the console does not take output");
}

}  // namespace

void console() {
    print("type, q ends\n");
    for (;;) {
        const int c = typed();
        if (c < 0) {
            for (int i = 0; i < 1000; ++i) pause();
            continue;
        }
        put(static_cast<char>(c));
        if (c == 'q') break;
    }
    print("\n");
}

void vconsole() {
    auto device = virtio::Device::get(virtio::type::Console);
    virtio::Queue receive;
    virtio::Queue transmit;
    device.negotiate(virtio::feature::EventIdx);
    device.enable_queue(kReceive, receive);
    device.enable_queue(kTransmit, transmit);
    device.drive();
    const u64 page = memory::take(2 * kPage);
    const u64 in = page + kPage;
    constexpr std::string_view kLine = "Holdfast built-in guest on the virtio console\n";
    std::memcpy(pointer<void>(page), kLine.data(), kLine.size());
    send(device, transmit, page, kLine.size());
    print("sent=", kLine.size(), "\n");
    if (boot::option("mode") != "echo") return;

    u64 echoed = 0;
    for (bool more = true; more;) {
        receive.add(std::array{virtio::Segment{in, 256, true}});
        device.kick(kReceive, receive);
        std::optional<virtio::Used> used;
        while (!(used = receive.poll())) pause();
        const u32 length = std::min<u32>(used->length, 256);
        if (length != 0) send(device, transmit, in, length);
        echoed += length;
        more = std::memchr(pointer<void>(in), 'q', length) == nullptr;
    }
    print("echoed=", echoed, "\n");
}

void rng() {
    auto device = virtio::Device::get(virtio::type::Entropy);
    virtio::Queue queue;
    device.negotiate(virtio::feature::EventIdx);
    device.enable_queue(0, queue);
    device.drive();
    constexpr u32 kWanted = 64;
    auto* bytes = pointer<u8>(memory::take(kPage));
    std::memset(bytes, 0, kWanted);
    u32 got = 0;
    while (got < kWanted) {
        queue.add(std::array{virtio::Segment{address_of(bytes) + got, kWanted - got, true}});
        device.kick(0, queue);
        const auto used = device.wait(queue);
        if (!used || used->length == 0 || used->length > kWanted - got) fail("no random bytes");
        got += used->length;
    }
    if (std::all_of(bytes, bytes + kWanted, [&](u8 b) { return b == bytes[0]; })) {
        fail("random bytes are all ", Hex{bytes[0]});
    }
    print("random=");
    for (u32 i = 0; i < kWanted; ++i) print(Hex{bytes[i], 2});
    print("\n");
}

}  // namespace holdfast::builtin::jobs
