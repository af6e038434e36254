// SPDX-License-Identifier: Apache-2.0
// holdfast-io is killed at random moments while a VMM writes numbered blocks. Whatever was
// acknowledged and flushed must be whole on the disk afterwards (threat model: crash honesty).
#include <chrono>
#include <csignal>
#include <map>
#include <random>
#include <thread>

#include "tests/io/process.hpp"

namespace holdfast::io {
namespace {

using test::must;

constexpr std::uint32_t kBlock = 4096;
constexpr std::uint64_t kBlocks = 512;
constexpr std::size_t kDepth = 16;
constexpr int kKills = 25;

/// The whole block depends on its place and its version.
void fill(std::span<std::byte> out, std::uint64_t place, std::uint64_t version) {
    std::uint64_t state = place * 0x9e3779b97f4a7c15 + version;
    for (std::size_t at = 0; at < out.size(); at += sizeof state) {
        std::memcpy(out.data() + at, at == 0 ? &version : &state, sizeof state);
        state = state * 6364136223846793005 + 1442695040888963407;
    }
}

/// What the disk may hold at one place: the last flushed version or any that was sent later.
struct Place {
    std::uint64_t acknowledged = 0;
    std::uint64_t flushed = 0;
    std::uint64_t sent = 0;
};

/// Writes until the process is gone.
void write_until_killed(test::IoProcess& io, std::vector<Place>& places, std::uint64_t& version,
                        std::minstd_rand& random) {
    std::map<std::uint64_t, std::uint64_t> under_way;  // place → version
    std::size_t writing = 0;
    bool flushing = false;
    std::vector<std::uint64_t> covered;  // acknowledged versions at the time of the flush
    for (;;) {
        while (writing < kDepth) {
            const std::uint64_t place = random() % kBlocks;
            if (under_way.contains(place)) continue;
            auto slot = io.client->take_slot();
            if (!slot) break;
            fill(slot->bytes(kBlock), place, ++version);
            places[place].sent = under_way[place] = version;
            Request request{.op = Op::Write,
                            .offset = place * kBlock,
                            .length = kBlock,
                            .slot = std::move(*slot),
                            .cookie = place};
            ASSERT_TRUE(io.client->submit(request));
            ++writing;
        }
        if (!flushing && random() % 4 == 0) {
            covered.clear();
            for (const Place& place : places) covered.push_back(place.acknowledged);
            Request request{.op = Op::Flush};
            ASSERT_TRUE(io.client->submit(request));
            flushing = true;
        }
        io.client->flush();
        auto completion = must(io.client->next_completion());
        if (!completion) {
            if (!io.client->arm()) continue;
            std::array<pollfd, 2> entries{pollfd{io.client->completions().fd().get(), POLLIN, 0},
                                          pollfd{io.child.pidfd().get(), POLLIN, 0}};
            ASSERT_GT(::poll(entries.data(), entries.size(), test::kPatienceMs), 0);
            io.client->completions().drain();
            // Completions that were shown before the end count.
            if (entries[1].revents != 0 && io.client->arm()) return;
            continue;
        }
        ASSERT_EQ(completion->status, Status::Ok);
        if (completion->op == Op::Flush) {
            for (std::size_t i = 0; i < places.size(); ++i) places[i].flushed = covered[i];
            flushing = false;
        } else {
            places[completion->cookie].acknowledged = under_way[completion->cookie];
            under_way.erase(completion->cookie);
            --writing;
        }
    }
}

TEST(IoCrash, EveryFlushedBlockIsWholeAfterAKill) {
    const UniqueFd file = test::temporary_file(kBlocks * kBlock);
    std::vector<Place> places(kBlocks);
    std::uint64_t version = 0;
    const unsigned seed = std::random_device{}();
    RecordProperty("seed", static_cast<int>(seed));
    std::minstd_rand random{seed};
    std::uint64_t flushed = 0;
    for (int kill = 0; kill < kKills; ++kill) {
        test::IoProcess io;
        io.config.disks.push_back({.file = must(file.duplicate()), .size_bytes = kBlocks * kBlock});
        io.start();
        if (testing::Test::HasFatalFailure()) return;
        const auto delay = std::chrono::microseconds{random() % 20'000};
        std::jthread killer{[&io, delay] {
            std::this_thread::sleep_for(delay);  // the random moment itself, not a wait for something
            io.child.kill(SIGKILL);
        }};
        write_until_killed(io, places, version, random);
        killer.join();
        EXPECT_TRUE(io.wait_for_end().signalled);

        std::vector<std::byte> found(kBlock);
        std::vector<std::byte> expected(kBlock);
        for (std::uint64_t i = 0; i < kBlocks; ++i) {
            must(pread_exact(file, found, i * kBlock));
            std::uint64_t on_disk = 0;
            std::memcpy(&on_disk, found.data(), sizeof on_disk);
            // An acknowledged write is with the kernel, so a killed process cannot take it back.
            ASSERT_GE(on_disk, places[i].acknowledged) << "seed " << seed << " block " << i;
            ASSERT_LE(on_disk, places[i].sent) << "seed " << seed << " block " << i;
            if (on_disk != 0) {
                fill(expected, i, on_disk);
                ASSERT_TRUE(found == expected) << "torn block " << i << ", seed " << seed;
            }
            places[i].acknowledged = on_disk;
            flushed = std::max(flushed, places[i].flushed);
        }
    }
    EXPECT_GT(flushed, 0U) << "the process was never alive long enough to flush";
}

}  // namespace
}  // namespace holdfast::io
