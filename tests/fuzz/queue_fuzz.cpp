// SPDX-License-Identifier: Apache-2.0
// The virtqueue alone: arbitrary bytes as descriptor table, rings and indirect tables.
#include <array>

#include "memcrypt/guest_memory.hpp"
#include "tests/fuzz/input.hpp"
#include "vmm/virtio/queue.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace holdfast;
    // One page of guest memory is the input itself: 8 descriptors, rings behind them, the rest for
    // indirect tables. Made once; every input overwrites all of it.
    static const auto memory = memcrypt::GuestMemory::create_plain(
                                   std::array{memcrypt::GuestMemory::Range{GuestAddr{0x1000}, kPageSize}})
                                   .value();
    fuzz::Input input{data, size};
    const auto options = input.take<std::uint8_t>();
    memory.fill_zero(GuestAddr{0x1000}, kPageSize).value();
    memory.write(GuestAddr{0x1000}, input.take_bytes(kPageSize)).value();
    auto queue = virtio::Queue::create(memory, {.size = 8,
                                                .descriptors = GuestAddr{0x1000},
                                                .available = GuestAddr{0x1080},
                                                .used = GuestAddr{0x10a0},
                                                .indirect = (options & 1) != 0,
                                                .event_idx = (options & 2) != 0})
                     .value();
    virtio::Chain chain;
    std::array<std::byte, 256> bytes{};
    for (int i = 0; i < 16; ++i) {
        const auto popped = queue.pop(chain);
        if (!popped) return 0;
        if (!*popped) break;
        std::uint64_t readable = 0;
        for (const auto& segment : chain.readable()) readable += segment.size;
        check(readable == chain.readable_bytes(), "chain's sum");
        static_cast<void>(virtio::gather(memory, chain.readable(), options, bytes));
        static_cast<void>(virtio::scatter(memory, chain.writable(), options, bytes));
        queue.push(chain.head(), options);
        static_cast<void>(queue.publish());
        if ((options & 4) != 0) static_cast<void>(queue.arm());
    }
    return 0;
}
