// SPDX-License-Identifier: Apache-2.0
#include "vmm/io/disks.hpp"

#include <algorithm>

#include <sys/stat.h>

#include "tests/unit/vmm/io/vm.hpp"

namespace holdfast::io {
namespace {

using test::must;

constexpr std::uint64_t kSize = 1 << 20;
constexpr ResourceId kDisk{0};
constexpr ResourceId kReadOnlyDisk{1};

/// Both engines must behave the same.
struct IoDisks : testing::TestWithParam<DiskEngine> {
    test::Shared shared;
    std::unique_ptr<Client> client = shared.client();
    RequestRing ring = must(RequestRing::create(shared.memory, EventFd{must(shared.requests.duplicate())},
                                                EventFd{must(shared.completions.duplicate())}));
    UniqueFd file = test::temporary_file(kSize);
    std::optional<Disks> disks = must(Disks::create(make_disks(), ring, GetParam()));

    std::vector<Disk> make_disks() {
        std::vector<Disk> made;
        made.push_back({.file = must(file.duplicate()), .size_bytes = kSize});
        made.push_back({.file = must(file.duplicate()), .size_bytes = kSize, .read_only = true});
        return made;
    }
    Slot filled(char byte, std::size_t size) {
        Slot slot = std::move(*client->take_slot());
        std::memset(slot.bytes(size).data(), byte, size);
        return slot;
    }
    /// Sends one request through the whole path and waits for its completion.
    Completion perform(Request request) {
        test::submit(*client, std::move(request));
        disks->start(must(ring.take()).value());
        while (disks->under_way() != 0) {
            must(disks->submit());
            if (disks->reap() || disks->readable() == nullptr) continue;
            EXPECT_TRUE(test::wait_readable(*disks->readable()));
        }
        ring.publish();
        return std::move(*test::next(*client));
    }
    char byte_at(std::uint64_t offset) {
        char byte = 0;
        EXPECT_EQ(::pread(file.get(), &byte, 1, static_cast<off_t>(offset)), 1);
        return byte;
    }
};
INSTANTIATE_TEST_SUITE_P(Engines, IoDisks, testing::Values(DiskEngine::UringIfPermitted, DiskEngine::Plain),
                         [](const auto& engine) {
                             return engine.param == DiskEngine::Plain ? "Plain" : "Uring";
                         });

TEST_P(IoDisks, WhatIsWrittenIsReadBack) {
    EXPECT_EQ(
        perform(
            {.op = Op::Write, .resource = kDisk, .offset = 4096, .length = 8192, .slot = filled('w', 8192)})
            .status,
        Status::Ok);
    EXPECT_EQ(byte_at(4095), '\0');
    EXPECT_EQ(byte_at(4096), 'w');
    EXPECT_EQ(byte_at(4096 + 8191), 'w');
    EXPECT_EQ(byte_at(4096 + 8192), '\0');

    auto read = perform({.op = Op::Read,
                         .resource = kDisk,
                         .offset = 4096,
                         .length = 8192,
                         .slot = std::move(*client->take_slot())});
    EXPECT_EQ(read.status, Status::Ok);
    ASSERT_EQ(read.length, 8192U);
    EXPECT_TRUE(std::ranges::all_of(read.slot.bytes(8192), [](std::byte b) { return b == std::byte{'w'}; }));
}

TEST_P(IoDisks, EdgesOfTheDiskHold) {
    const auto read = [this](std::uint64_t offset, std::uint32_t length) {
        return perform({.op = Op::Read,
                        .resource = kDisk,
                        .offset = offset,
                        .length = length,
                        .slot = std::move(*client->take_slot())})
            .status;
    };
    EXPECT_EQ(read(kSize - 512, 512), Status::Ok);
    EXPECT_EQ(read(kSize - 512, 513), Status::OutOfRange);
    EXPECT_EQ(read(kSize, 1), Status::OutOfRange);
    EXPECT_EQ(read(kSize, 0), Status::Ok);
    EXPECT_EQ(read(kSize + 1, 0), Status::OutOfRange);
    EXPECT_EQ(read(~0ULL, 512), Status::OutOfRange);
    EXPECT_EQ(read(~0ULL - 511, 512), Status::OutOfRange);
}

TEST_P(IoDisks, WritePastTheEndDoesNotGrowTheFile) {
    EXPECT_EQ(perform({.op = Op::Write,
                       .resource = kDisk,
                       .offset = kSize - 512,
                       .length = 1024,
                       .slot = filled('x', 1024)})
                  .status,
              Status::OutOfRange);
    struct stat status{};
    ASSERT_EQ(::fstat(file.get(), &status), 0);
    EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), kSize);
    EXPECT_EQ(byte_at(kSize - 512), '\0');
}

TEST_P(IoDisks, ReadOnlyRefusesEverythingThatChanges) {
    EXPECT_EQ(
        perform({.op = Op::Write, .resource = kReadOnlyDisk, .length = 512, .slot = filled('x', 512)}).status,
        Status::ReadOnly);
    EXPECT_EQ(perform({.op = Op::Discard, .resource = kReadOnlyDisk, .length = 4096}).status,
              Status::ReadOnly);
    EXPECT_EQ(perform({.op = Op::WriteZeroes, .resource = kReadOnlyDisk, .length = 4096}).status,
              Status::ReadOnly);
    EXPECT_EQ(perform({.op = Op::Flush, .resource = kReadOnlyDisk}).status, Status::Ok);
    EXPECT_EQ(byte_at(0), '\0');
}

TEST_P(IoDisks, DiscardAndWriteZeroesReadAsZeroesAndKeepTheirBounds) {
    for (const Op op : {Op::Discard, Op::WriteZeroes}) {
        perform(
            {.op = Op::Write, .resource = kDisk, .offset = 0, .length = 16384, .slot = filled('x', 16384)});
        EXPECT_EQ(perform({.op = op, .resource = kDisk, .offset = 4096, .length = 8192}).status, Status::Ok);
        EXPECT_EQ(byte_at(4095), 'x');
        EXPECT_EQ(byte_at(4096), '\0');
        EXPECT_EQ(byte_at(12287), '\0');
        EXPECT_EQ(byte_at(12288), 'x');
        EXPECT_EQ(perform({.op = op, .resource = kDisk, .offset = kSize - 4096, .length = 8192}).status,
                  Status::OutOfRange);
    }
}

TEST_P(IoDisks, WriteZeroesWorksWhereOnlyHolesAreSupported) {
    UniqueFd memory = must(sealed_memfd("tmpfs", kSize));
    std::vector<Disk> made;
    made.push_back({.file = must(memory.duplicate()), .size_bytes = kSize});
    disks.emplace(must(Disks::create(std::move(made), ring, GetParam())));
    perform({.op = Op::Write, .resource = kDisk, .length = 8192, .slot = filled('x', 8192)});
    EXPECT_EQ(perform({.op = Op::WriteZeroes, .resource = kDisk, .offset = 0, .length = 4096}).status,
              Status::Ok);
    char bytes[2]{};
    ASSERT_EQ(::pread(memory.get(), bytes, 1, 0), 1);
    ASSERT_EQ(::pread(memory.get(), bytes + 1, 1, 4096), 1);
    EXPECT_EQ(bytes[0], '\0');
    EXPECT_EQ(bytes[1], 'x');
}

TEST_P(IoDisks, FileThatBecameShorterIsAnIoError) {
    ASSERT_EQ(::ftruncate(file.get(), 4096 + 100), 0);
    EXPECT_EQ(perform({.op = Op::Read,
                       .resource = kDisk,
                       .offset = 4096,
                       .length = 512,
                       .slot = std::move(*client->take_slot())})
                  .status,
              Status::IoError);
}

TEST_P(IoDisks, DiskThatIsNotThereIsUnsupported) {
    EXPECT_EQ(perform({.op = Op::Flush, .resource = ResourceId{2}}).status, Status::Unsupported);
    EXPECT_EQ(perform({.op = Op::Send, .resource = kDisk, .length = 8, .slot = filled('x', 8)}).status,
              Status::Unsupported);
}

TEST_P(IoDisks, ManyAtOnceAllComplete) {
    constexpr std::uint32_t kCount = kSlotCount;
    for (std::uint32_t i = 0; i < kCount; ++i) {
        test::submit(*client, {.op = Op::Write,
                               .resource = kDisk,
                               .offset = i * 4096ULL,
                               .length = 4096,
                               .slot = filled(static_cast<char>('a' + i % 26), 4096),
                               .cookie = i});
        disks->start(must(ring.take()).value());
    }
    std::vector<bool> seen(kCount);
    for (std::uint32_t done = 0; done < kCount;) {
        must(disks->submit());
        if (!disks->reap() && disks->readable() != nullptr && disks->under_way() != 0) {
            ASSERT_TRUE(test::wait_readable(*disks->readable()));
        }
        ring.publish();
        while (const auto completion = must(client->next_completion())) {
            EXPECT_EQ(completion->status, Status::Ok);
            EXPECT_FALSE(seen[completion->cookie]);
            seen[completion->cookie] = true;
            ++done;
        }
    }
    for (std::uint32_t i = 0; i < kCount; ++i)
        ASSERT_EQ(byte_at(i * 4096ULL), static_cast<char>('a' + i % 26));
}

TEST_P(IoDisks, DirectDiskReadsAndWritesSectors) {
    UniqueFd direct = test::temporary_file(kSize, O_DIRECT);
    std::vector<Disk> made;
    made.push_back({.file = must(direct.duplicate()), .size_bytes = kSize, .direct = true});
    disks.emplace(must(Disks::create(std::move(made), ring, GetParam())));
    EXPECT_EQ(
        perform({.op = Op::Write, .resource = kDisk, .offset = 512, .length = 512, .slot = filled('d', 512)})
            .status,
        Status::Ok);
    auto read = perform({.op = Op::Read,
                         .resource = kDisk,
                         .offset = 0,
                         .length = 1024,
                         .slot = std::move(*client->take_slot())});
    ASSERT_EQ(read.status, Status::Ok);
    EXPECT_EQ(read.slot.bytes(1024)[511], std::byte{0});
    EXPECT_EQ(read.slot.bytes(1024)[512], std::byte{'d'});
}

TEST(IoUring, DoesNothingButDiskOperationsOnItsOwnFiles) {
    const UniqueFd file = test::temporary_file(4096);
    const UniqueFd* files[] = {&file};
    auto uring = Uring::create(files, 8);
    if (!uring) GTEST_SKIP() << "io_uring is not permitted here: " << uring.error().what;
    // Index 1 is no registered file.
    std::array<std::byte, 16> bytes{};
    (*uring)->read(1, bytes, 0, 5);
    must((*uring)->submit());
    const auto done = (*uring)->reap();
    ASSERT_TRUE(done);
    EXPECT_EQ(done->id, 5U);
    EXPECT_EQ(done->result, -EBADF);
}

}  // namespace
}  // namespace holdfast::io
