// SPDX-License-Identifier: Apache-2.0
// blk: reads, writes or flushes a disk as fast as it goes, or writes a pattern and checks that it
// comes back.

#include <algorithm>

#include "guest_agent/builtin/block.hpp"
#include "guest_agent/builtin/boot.hpp"
#include "guest_agent/builtin/clock.hpp"
#include "guest_agent/builtin/console.hpp"
#include "guest_agent/builtin/jobs.hpp"
#include "guest_agent/builtin/random.hpp"

namespace holdfast::builtin::jobs {
namespace {

struct Plan {
    u64 size, count, depth, span, seed;
    bool random;
    [[nodiscard]] u64 blocks() const { return span / size; }
};

enum class Content : u8 { Ignore, Write, Check };

u64 pattern(const Plan& plan, u64 offset) { return mix(offset ^ plan.seed << 48); }

void write_pattern(const Plan& plan, u64 data, u64 offset) {
    for (u64 i = 0; i < plan.size; i += 8) *pointer<u64>(data + i) = pattern(plan, offset + i);
}

void check_pattern(const Plan& plan, u64 data, u64 offset) {
    for (u64 i = 0; i < plan.size; i += 8) {
        const u64 found = *pointer<u64>(data + i);
        if (found != pattern(plan, offset + i)) {
            fail("disk offset ", offset + i, " holds ", Hex{found}, ", expected ",
                 Hex{pattern(plan, offset + i)});
        }
    }
}

/// Keeps `depth` requests in flight until `count` are done.
void transfer(BlockDevice& disk, const Plan& plan, u32 request, Content content) {
    Random random{plan.seed};
    const u64 blocks = plan.blocks();
    u64 issued = 0;
    const auto issue = [&](u32 slot) {
        // With a pattern each block comes once, in an order that only looks random.
        u64 block = issued % blocks;
        if (plan.random) {
            block = content == Content::Ignore ? random.below(blocks) : block * 1'000'003 % blocks;
        }
        const u64 offset = block * plan.size;
        disk.slot(slot).tag = offset;
        if (content == Content::Write) write_pattern(plan, disk.slot(slot).data, offset);
        disk.submit(slot, request, offset / blk::kSector, static_cast<u32>(plan.size));
        ++issued;
    };
    for (u32 slot = 0; slot < plan.depth && issued < plan.count; ++slot) issue(slot);
    disk.kick();
    for (u64 done = 0; done < plan.count; ++done) {
        const u32 slot = disk.complete();
        if (const u8 status = disk.status(slot); status != blk::Ok) {
            fail("disk offset ", disk.slot(slot).tag, ": status ", status);
        }
        if (content == Content::Check) {
            check_pattern(plan, disk.slot(slot).data, disk.slot(slot).tag);
        }
        if (issued < plan.count) {
            issue(slot);
            disk.kick();
        }
    }
}

void flush(BlockDevice& disk) {
    if (disk.execute(blk::FlushRequest, 0, 0) != blk::Ok) fail("flush failed");
}

}  // namespace

void blk_job() {
    Plan plan{.size = boot::number("size", 4096),
              .count = boot::number("count", 1024),
              .depth = boot::number("depth", 1),
              .span = boot::number("span", 0),
              .seed = boot::number("seed", 1),
              .random = boot::number("random", 0) != 0};
    const auto op = boot::option("op", "read");
    if (plan.size == 0 || plan.size % blk::kSector != 0 || plan.size > u64{16} << 20) {
        fail("size must be a multiple of 512, at most 16M");
    }
    BlockDevice disk{static_cast<u32>(std::min<u64>(plan.depth, ~u32{0})), plan.size};
    plan.depth = std::min<u64>(plan.depth, disk.queue().size() / 3);
    if (plan.span == 0 || plan.span > disk.capacity()) plan.span = disk.capacity();
    if (plan.blocks() == 0) fail("the disk has ", disk.capacity(), " bytes");
    const bool read_only = (disk.device().features() & blk::ReadOnly) != 0;
    print("disk_bytes=", disk.capacity(), "\nread_only=", read_only, "\nop=", op, "\n");

    const u64 start = cycles();
    if (op == "read") {
        transfer(disk, plan, blk::In, Content::Ignore);
    } else if (op == "write") {
        transfer(disk, plan, blk::Out, Content::Write);
        flush(disk);
    } else if (op == "check") {
        plan.count = std::min(plan.count, plan.blocks());
        transfer(disk, plan, blk::In, Content::Check);
    } else if (op == "verify") {
        plan.count = std::min(plan.count, plan.blocks());
        transfer(disk, plan, blk::Out, Content::Write);
        flush(disk);
        transfer(disk, plan, blk::In, Content::Check);
    } else if (op == "flush") {
        for (u64 i = 0; i < plan.count; ++i) flush(disk);
    } else {
        fail("op is read, write, check, verify or flush, not ", op);
    }
    const u64 elapsed = cycles() - start;
    print("requests=", plan.count, "\ndepth=", plan.depth, "\nbytes=", plan.count * plan.size, "\n");
    clock::report(elapsed, plan.count, "request");
}

}  // namespace holdfast::builtin::jobs
