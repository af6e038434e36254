// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/builtin/block.hpp"

#include "guest_agent/builtin/boot.hpp"
#include "guest_agent/builtin/console.hpp"

namespace holdfast::builtin {

BlockDevice::BlockDevice(u32 depth, u64 bytes)
    : device_{virtio::Device::get(virtio::type::Block)}, depth_{depth} {
    if (depth == 0 || depth > kMaxDepth) fail("depth must be 1 to ", kMaxDepth);
    const u64 headers = memory::take(u64{depth} * 32);
    for (u32 i = 0; i < depth; ++i) {
        slots_[i] = {
            .header = headers + 32 * i, .status = headers + 32 * i + 16, .data = memory::take(bytes)};
    }
    restart();
}

void BlockDevice::restart() {
    device_.reset();
    device_.negotiate(blk::ReadOnly | blk::Flush | virtio::feature::EventIdx);
    device_.enable_queue(0, queue_);
    device_.drive();
    capacity_ = device_.config<u32>(0) | u64{device_.config<u32>(4)} << 32;
}

void BlockDevice::submit(u32 index, u32 request, u64 sector, u32 length) {
    Slot& s = slots_[index];
    *pointer<Header>(s.header) = {.type = request, .reserved = 0, .sector = sector};
    *pointer<u8>(s.status) = 0xff;
    const bool device_writes = request == blk::In || request == blk::GetId;
    const std::array<virtio::Segment, 3> with_data{
        {{s.header, sizeof(Header), false}, {s.data, length, device_writes}, {s.status, 1, true}}};
    const std::array<virtio::Segment, 2> without{with_data[0], with_data[2]};
    const auto head = length == 0 ? queue_.add(without) : queue_.add(with_data);
    if (!head) fail("queue full at depth ", depth_);
    s.head = *head;
}

u32 BlockDevice::complete() {
    const auto used = device_.wait(queue_);
    if (!used) fail(device_.needs_reset() ? "disk asks for reset" : "disk does not answer");
    for (u32 i = 0; i < depth_; ++i) {
        if (slots_[i].head == used->head) return i;
    }
    fail("disk completed a request nobody made");
}

u8 BlockDevice::execute(u32 request, u64 sector, u32 length) {
    submit(0, request, sector, length);
    kick();
    static_cast<void>(complete());
    return status(0);
}

}  // namespace holdfast::builtin
