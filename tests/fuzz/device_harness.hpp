// SPDX-License-Identifier: Apache-2.0
// Turns a fuzzer's bytes into what a hostile guest and a slow or failing I/O process can do to one
// virtio device: configuration, port and BAR accesses, writes to its memory and rings, kicks,
// completions and messages. Half of the steps are guided, so that deep states are reached.
#pragma once

#include "tests/fuzz/input.hpp"
#include "tests/unit/vmm/virtio/fake_driver.hpp"

namespace holdfast::fuzz {

/// One for each input.
class DeviceHarness {
public:
    virtio::Board board{48};

    void run(virtio::Device& device, unsigned queues, io::ResourceId resource, Input input) {
        static_cast<void>(ports_.add(pci::kConfigPort, pci::kConfigPortSize, board.root.ports()));
        board.plug(1, device);
        const virtio::FakeDriver driver{board, 1};
        const auto start = [&](std::uint64_t features) {
            driver.begin(features);
            for (unsigned i = 0; i < queues; ++i) rings_[i] = driver.enable(i, 16, 0x10000 + 0x10000ULL * i);
            driver.finish();
        };
        start(virtio::spec::F_VERSION_1 | virtio::spec::F_INDIRECT_DESC |
              (input.take<std::uint8_t>() % 2 != 0 ? virtio::spec::F_EVENT_IDX : 0));
        for (int steps = 0; steps < 256 && !input.empty(); ++steps) {
            step(device, driver, queues, resource, input, start);
        }
        for (int i = 0; i < 64; ++i) {
            while (!board.client.queued.empty() && board.client.queued.front().op != io::Op::Receive) {
                board.client.complete(0);
            }
            static_cast<void>(board.worker->turn());
        }
        driver.set_status(0);
        board.turn();
        for (int i = 0; i < 64 && !board.client.queued.empty(); ++i) {
            board.client.complete(0);
            static_cast<void>(board.worker->turn());
        }
    }

private:
    template <typename Start>
    void step(virtio::Device& device, const virtio::FakeDriver& driver, unsigned queues,
              io::ResourceId resource, Input& input, Start& start) {
        const auto choice = input.take<std::uint8_t>();
        virtio::DriverQueue& ring = rings_[choice / 16 % queues];
        const unsigned queue = choice / 16 % queues;
        switch (choice % 16) {
            case 0:
                access(board.bus, pci::kEcamStart + (1U << 15) + input.take<std::uint8_t>(), input);
                break;
            case 1:
                access(board.bus, pci::kEcamStart + input.take<std::uint32_t>() % pci::kEcamSize, input);
                break;
            case 2: access(board.bus, pci::kMmio32Start + input.take<std::uint16_t>(), input); break;
            case 3: access(ports_, pci::kConfigPort + input.take<std::uint8_t>() % 8, input); break;
            case 4: {
                const auto address = input.take<std::uint32_t>() % virtio::kRamSize;
                static_cast<void>(
                    board.memory.write(GuestAddr{address}, input.take_bytes(input.take<std::uint8_t>())));
                break;
            }
            case 5: ring.put16(ring.available + 2, input.take<std::uint16_t>()); break;
            case 6:
                ring.put16(ring.available + 4 + 2ULL * (input.take<std::uint8_t>() % 17),
                           input.take<std::uint16_t>());
                break;
            case 7: {
                const auto index = static_cast<std::uint16_t>(input.take<std::uint8_t>() % 16);
                const auto flags = input.take<std::uint8_t>();
                ring.describe(index, input.take<std::uint64_t>(), input.take<std::uint32_t>(), flags,
                              input.take<std::uint8_t>());
                break;
            }
            case 8:
            case 9: {  // a plausible chain: header, data, answer
                const auto base = std::uint64_t{0x100000} + 0x10000ULL * (input.take<std::uint8_t>() % 16);
                const auto header = input.take_bytes(input.take<std::uint8_t>() % 64);
                static_cast<void>(board.memory.write(GuestAddr{base}, header));
                const auto flags = input.take<std::uint8_t>();
                ring.describe(0, base, static_cast<std::uint32_t>(header.size()), 1U | (flags & 2U), 1);
                ring.describe(1, base + 64, input.take<std::uint32_t>() % 0x40000, 1U | (flags / 2 & 2U), 2);
                ring.describe(2, base + 32, input.take<std::uint8_t>(), (flags / 4 & 2U));
                ring.offer(0);
                driver.kick(queue);
                break;
            }
            case 10: driver.kick(queue); break;
            case 11: static_cast<void>(board.worker->turn()); break;
            case 12:
                if (!board.client.queued.empty()) {
                    const std::size_t index = input.take<std::uint8_t>() % board.client.queued.size();
                    const std::uint32_t most = board.client.queued[index].length;
                    const auto status = static_cast<io::Status>(input.take<std::uint8_t>() % 6);
                    board.client.complete(index, status, input.take<std::uint32_t>() % (most + 1));
                }
                break;
            case 13: board.client.deliver(resource, input.take_bytes(input.take<std::uint8_t>())); break;
            case 14:
                driver.set_status(0);
                for (int i = 0; i < 200 && !board.client.queued.empty() && !device.is_idle(); ++i) {
                    board.client.complete(0);
                    static_cast<void>(board.worker->turn());
                }
                static_cast<void>(board.worker->turn());
                break;
            case 15: start(input.take<std::uint64_t>() | virtio::spec::F_VERSION_1); break;
        }
    }
    static void access(bus::Bus& bus, std::uint64_t address, Input& input) {
        const auto how = input.take<std::uint8_t>();
        const std::size_t size = std::size_t{1} << (how % 4);
        std::array<std::byte, 8> bytes{};
        if (how < 64) {
            bus.read(address, std::span{bytes}.first(size));
        } else {
            std::ranges::copy(input.take_bytes(size), bytes.begin());
            bus.write(address, std::span{bytes}.first(size));
        }
    }
    bus::Bus ports_;
    std::array<virtio::DriverQueue, 8> rings_{};
};

}  // namespace holdfast::fuzz
