// SPDX-License-Identifier: Apache-2.0
// Chains in good order whose contents are not: block, network and socket headers, and floods
// (virtio 1.2 §5.1.6, §5.2.6, §5.3.6, §5.10.6).

#include "guest_agent/builtin/block.hpp"
#include "guest_agent/builtin/boot.hpp"
#include "guest_agent/builtin/console.hpp"
#include "guest_agent/builtin/hostile.hpp"
#include "guest_agent/builtin/vsock.hpp"

namespace holdfast::builtin::hostile {
namespace {

using virtio::Segment;

constexpr u32 kDiscard = 11, kWriteZeroes = 13;

u64 header(Victim& v, u32 type, u64 sector) {
    *pointer<BlockDevice::Header>(v.scratch) = {.type = type, .reserved = ~u32{0}, .sector = sector};
    return v.scratch;
}

void block(Victim& v, u32 type, u64 sector, u32 length, bool device_writes) {
    v.offer_chain(std::array<Segment, 3>{{{header(v, type, sector), 16, false},
                                          {v.scratch + kPage, length, device_writes},
                                          {v.scratch + 16, 1, true}}});
}

void block_bad_type(Victim* v) {
    for (const u32 type : {2U, 3U, 5U, 99U, ~0U}) block(*v, type, 0, 512, true);
}

void block_sectors(Victim* v) {
    const u64 end = v->device.config<u32>(0) | u64{v->device.config<u32>(4)} << 32;
    for (const u64 sector : {end, end - 1, u64{1} << 55, ~u64{0} >> 9, ~u64{0}}) {
        block(*v, blk::In, sector, 1024, true);
        block(*v, blk::Out, sector, 1024, false);
    }
}

void block_no_status(Victim* v) {
    v->offer_chain(std::array<Segment, 1>{{{header(*v, blk::In, 0), 16, false}}});
    v->offer_chain(std::array<Segment, 2>{{{header(*v, blk::In, 0), 16, false}, {v->scratch + 16, 0, true}}});
    v->offer_chain(
        std::array<Segment, 2>{{{header(*v, blk::Out, 0), 16, false}, {v->scratch + kPage, 512, false}}});
}

void block_odd_lengths(Victim* v) {
    for (const u32 length : {0U, 1U, 511U, 513U}) {
        block(*v, blk::In, 0, length, true);
        block(*v, blk::Out, 0, length, false);
    }
}

void block_wrong_direction(Victim* v) {
    block(*v, blk::In, 0, 512, false);
    block(*v, blk::Out, 0, 512, true);
    block(*v, blk::FlushRequest, 7, 512, true);
    block(*v, blk::GetId, 0, 1, true);
    block(*v, blk::GetId, 0, 512, false);
}

void block_short_header(Victim* v) {
    for (const u32 length : {0U, 1U, 8U, 15U}) {
        v->offer_chain(std::array<Segment, 3>{{{header(*v, blk::In, 0), length, false},
                                               {v->scratch + kPage, 512, true},
                                               {v->scratch + 16, 1, true}}});
    }
}

void block_discard(Victim* v) {
    struct Range {
        u64 sector;
        u32 count, flags;
    };
    for (const u32 type : {kDiscard, kWriteZeroes}) {
        for (const Range& range : {Range{~u64{0}, 1, 0}, Range{0, ~u32{0}, 0}, Range{0, 1, ~u32{0}}}) {
            *pointer<Range>(v->scratch + kPage) = range;
            for (const u32 length : {16U, 0U, 15U, 4096U}) block(*v, type, 0, length, false);
        }
    }
}

void net_frames(Victim* v) {
    std::memset(pointer<void>(v->scratch), 0, 64);
    for (const u32 length : {1U, 11U, 12U, 13U, 25U, 1527U, 9012U, 65550U, 131072U}) {
        v->offer_chain(std::array<Segment, 1>{{{v->scratch, length, false}}});
    }
}

void net_offloads(Victim* v) {
    std::memset(pointer<void>(v->scratch), 0xff, 76);
    v->offer_chain(std::array<Segment, 1>{{{v->scratch, 76, false}}});
    std::memset(pointer<void>(v->scratch), 0, 76);
    pointer<u8>(v->scratch)[0] = 1;  // NEEDS_CSUM, with offsets outside of the frame
    std::memset(pointer<void>(v->scratch + 6), 0xff, 4);
    v->offer_chain(std::array<Segment, 1>{{{v->scratch, 76, false}}});
}

void net_scattered(Victim* v) {
    std::memset(pointer<void>(v->scratch), 0, 128);
    std::array<Segment, 64> bytes{};
    for (u32 i = 0; i < bytes.size(); ++i) bytes[i] = {v->scratch + i, 1, false};
    v->offer_chain(bytes);
}

vsock::Header& packet(Victim& v) {
    auto* header = pointer<vsock::Header>(v.scratch);
    *header = {.src_cid = v.device.config<u32>(0),
               .dst_cid = vsock::kHost,
               .src_port = 4000,
               .dst_port = 4001,
               .type = vsock::kStream,
               .op = vsock::op::Rw,
               .buf_alloc = 65536};
    return *header;
}

void send(Victim& v, u32 length) { v.offer_chain(std::array<Segment, 1>{{{v.scratch, length, false}}}); }

void vsock_lengths(Victim* v) {
    for (const u32 announced : {1U, 4096U, 0x10000U, 0x7fffffffU, ~0U}) {
        packet(*v).len = announced;
        send(*v, sizeof(vsock::Header));
        send(*v, sizeof(vsock::Header) + 100);
    }
    for (const u32 length : {0U, 1U, 43U}) send(*v, length);
    packet(*v).len = 0;
    send(*v, Victim::kScratch - kPage);
}

void vsock_operations(Victim* v) {
    for (u16 op = 0; op < 12; ++op) {
        packet(*v).op = op;
        send(*v, sizeof(vsock::Header));
    }
    packet(*v).op = 0xffff;
    send(*v, sizeof(vsock::Header));
    packet(*v).type = 0xffff;
    send(*v, sizeof(vsock::Header));
    packet(*v).flags = ~u32{0};
    send(*v, sizeof(vsock::Header));
}

void vsock_addresses(Victim* v) {
    for (const u64 cid : {u64{0}, u64{1}, u64{77}, u64{0xffffffff}, ~u64{0}}) {
        packet(*v).dst_cid = cid;
        send(*v, sizeof(vsock::Header));
        packet(*v).src_cid = cid;
        send(*v, sizeof(vsock::Header));
    }
}

/// Half-open connections as fast as they can be asked for, and credit that cannot be.
void vsock_floods(Victim* v) {
    for (u32 port = 0; port < 2000; ++port) {
        auto& header = packet(*v);
        header.op = vsock::op::Request;
        header.src_port = port;
        header.dst_port = port % 7;
        header.buf_alloc = ~u32{0};
        header.fwd_cnt = port * 0x10001;
        v->describe(0, {v->scratch, sizeof(vsock::Header), 0, 0});
        v->offer(0);
        if (v->device.needs_reset()) return;
    }
    v->settle();
}

void console_flood(Victim* v) {
    std::memset(pointer<void>(v->scratch), 'x', kPage);
    const u64 size = boot::number("size", u64{1} << 20);
    v->describe(0, {v->scratch, kPage, 0, 0});
    for (u64 sent = 0; sent < size; sent += kPage) {
        const u16 before = v->queue().used_index();
        v->offer(0);
        for (const u64 start = cycles(); v->queue().used_index() == before;) {
            if (cycles() - start > u64{4} << 30) return;
            pause();
        }
    }
}

void console_escapes(Victim* v) {
    constexpr std::string_view kEscapes = "\x1b[2J\x1b]0;title\x07\x1b[6n\x1b[c\x9b\x00\xff\x7f\n";
    std::memcpy(pointer<void>(v->scratch), kEscapes.data(), kEscapes.size());
    v->offer_chain(std::array<Segment, 1>{{{v->scratch, static_cast<u32>(kEscapes.size()), false}}});
}

constexpr auto kVariants = std::to_array<Variant>({
    {"bad-type", Scope::Block, block_bad_type},
    {"sectors", Scope::Block, block_sectors},
    {"no-status", Scope::Block, block_no_status},
    {"odd-lengths", Scope::Block, block_odd_lengths},
    {"block-direction", Scope::Block, block_wrong_direction},
    {"short-header", Scope::Block, block_short_header},
    {"discard", Scope::Block, block_discard},
    {"frames", Scope::Net, net_frames},
    {"offloads", Scope::Net, net_offloads},
    {"scattered", Scope::Net, net_scattered},
    {"vsock-lengths", Scope::Socket, vsock_lengths},
    {"vsock-operations", Scope::Socket, vsock_operations},
    {"vsock-addresses", Scope::Socket, vsock_addresses},
    {"vsock-floods", Scope::Socket, vsock_floods},
    {"console-escapes", Scope::Console, console_escapes},
    {"console-flood", Scope::Console, console_flood},
});

}  // namespace

std::span<const Variant> request_variants() { return kVariants; }

}  // namespace holdfast::builtin::hostile
