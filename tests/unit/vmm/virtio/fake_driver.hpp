// SPDX-License-Identifier: Apache-2.0
// A guest's driver for tests: finds the device by configuration accesses, drives its registers
// through the bus, and writes rings into real guest memory. And the board both sit on.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "memcrypt/guest_memory.hpp"
#include "tests/unit/vmm/pci/fake_interrupts.hpp"
#include "tests/unit/vmm/virtio/fake_client.hpp"
#include "vmm/bus/bus.hpp"
#include "vmm/pci/root_complex.hpp"
#include "vmm/virtio/pci_transport.hpp"
#include "vmm/virtio/worker.hpp"

namespace holdfast::virtio {

inline constexpr std::uint64_t kRamSize = 16ULL << 20;

/// The parts of a VM that a virtio device touches. No thread: the test calls worker->turn().
struct Board {
    explicit Board(std::size_t slots = 128) : client{slots} {
        static_cast<void>(bus.add(pci::kEcamStart, pci::kEcamSize, root.ecam()));
    }
    PciTransport& plug(std::uint8_t slot, Device& device, const TransportOptions& options = {}) {
        transports.push_back(PciTransport::create(device, memory, msi, bells, options).value());
        root.add(slot, *transports.back()).value();
        worker->add(*transports.back()).value();
        return *transports.back();
    }
    void turn() {
        for (int i = 0; i < 4; ++i) static_cast<void>(worker->turn());
    }

    memcrypt::GuestMemory memory =
        memcrypt::GuestMemory::create_plain(std::array{memcrypt::GuestMemory::Range{GuestAddr{0}, kRamSize}})
            .value();
    bus::Bus bus;
    irq::FakeMsi msi;
    bus::FakeDoorbells bells;
    io::FakeClient client;
    pci::RootComplex root{bus, {}};
    std::vector<std::unique_ptr<PciTransport>> transports;
    std::vector<Error> failures;
    std::unique_ptr<Worker> worker =
        Worker::create(&client, [this](const Error& error) { failures.push_back(error); }).value();
};

/// One split virtqueue as its driver keeps it. Rings lie where the driver put them; buffers are the
/// test's affair.
struct DriverQueue {
    const memcrypt::GuestMemory* memory = nullptr;
    std::uint16_t size = 0;
    std::uint64_t descriptors = 0;
    std::uint64_t available = 0;
    std::uint64_t used = 0;
    std::uint64_t bell = 0;
    std::uint16_t next_available = 0;

    void describe(std::uint16_t index, std::uint64_t address, std::uint32_t length, unsigned flags = 0,
                  unsigned next = 0) const {
        describe_at(descriptors, index, address, length, flags, next);
    }
    void describe_at(std::uint64_t table, std::uint16_t index, std::uint64_t address, std::uint32_t length,
                     unsigned flags = 0, unsigned next = 0) const {
        const spec::Desc desc{.addr = address,
                              .len = length,
                              .flags = static_cast<std::uint16_t>(flags),
                              .next = static_cast<std::uint16_t>(next)};
        memory->write_value(GuestAddr{table + 16ULL * index}, desc).value();
    }
    void offer(std::uint16_t head) {
        put16(available + 4 + 2ULL * (next_available++ % size), head);
        put16(available + 2, next_available);
    }
    void put16(std::uint64_t at, std::uint16_t value) const {
        memory->store_release(GuestAddr{at}, value).value();  // as a driver must: the device may be at work
    }
    std::uint16_t get16(std::uint64_t at) const { return memory->load_acquire(GuestAddr{at}).value(); }
    std::uint16_t used_index() const { return get16(used + 2); }
    spec::UsedElem used_element(unsigned index) const {
        return memory->read_value<spec::UsedElem>(GuestAddr{used + 4 + 8ULL * (index % size)}).value();
    }
    std::uint16_t used_flags() const { return get16(used); }
    std::uint16_t available_event() const { return get16(used + 4 + 8ULL * size); }
    void set_used_event(std::uint16_t index) const { put16(available + 4 + 2ULL * size, index); }
};

class FakeDriver {
public:
    FakeDriver(Board& board, std::uint8_t slot)
        : board_{board}, ecam_{pci::kEcamStart + (std::uint64_t{slot} << 15)} {
        for (unsigned at = config<std::uint8_t>(0x34); at != 0; at = config<std::uint8_t>(at + 1)) {
            if (config<std::uint8_t>(at) == pci::spec::CAP_MSIX) msix = at;
            if (config<std::uint8_t>(at) != pci::spec::CAP_VENDOR) continue;
            const auto type = config<std::uint8_t>(at + 3);
            capabilities[type] = at;
            const std::uint64_t bar = config<std::uint32_t>(0x10 + 4U * config<std::uint8_t>(at + 4)) & ~0xfU;
            structures[type] = bar + config<std::uint32_t>(at + 8);
        }
    }

    template <typename T>
    T read(std::uint64_t address) const {
        T value{};
        board_.bus.read(address, std::as_writable_bytes(std::span{&value, 1}));
        return value;
    }
    template <typename T>
    void write(std::uint64_t address, T value) const {
        board_.bus.write(address, std::as_bytes(std::span{&value, 1}));
    }
    template <typename T>
    T config(std::uint64_t offset) const {
        return read<T>(ecam_ + offset);
    }
    template <typename T>
    void set_config(std::uint64_t offset, T value) const {
        write<T>(ecam_ + offset, value);
    }
    template <typename T>
    T common(std::uint64_t offset) const {
        return read<T>(structures.at(spec::PCI_CAP_COMMON_CFG) + offset);
    }
    template <typename T>
    void set_common(std::uint64_t offset, T value) const {
        write<T>(structures.at(spec::PCI_CAP_COMMON_CFG) + offset, value);
    }
    template <typename T>
    T device_config(std::uint64_t offset) const {
        return read<T>(structures.at(spec::PCI_CAP_DEVICE_CFG) + offset);
    }

    std::uint8_t status() const { return common<std::uint8_t>(20); }
    void set_status(unsigned value) const { set_common(20, static_cast<std::uint8_t>(value)); }
    bool needs_reset() const { return (status() & spec::DEVICE_NEEDS_RESET) != 0; }
    std::uint64_t offered() const {
        set_common<std::uint32_t>(0, 0);
        const std::uint64_t low = common<std::uint32_t>(4);
        set_common<std::uint32_t>(0, 1);
        return low | std::uint64_t{common<std::uint32_t>(4)} << 32;
    }
    void accept(std::uint64_t features) const {
        set_common<std::uint32_t>(8, 0);
        set_common(12, static_cast<std::uint32_t>(features));
        set_common<std::uint32_t>(8, 1);
        set_common(12, static_cast<std::uint32_t>(features >> 32));
    }
    std::uint64_t bell(unsigned queue) const {
        return structures.at(spec::PCI_CAP_NOTIFY_CFG) + 4ULL * queue;
    }
    /// A kick as the guest's write takes it: to the ioeventfd, or else out to us.
    void kick(unsigned queue) const {
        if (!board_.bells.ring(bell(queue)))
            write<std::uint16_t>(bell(queue), static_cast<std::uint16_t>(queue));
    }

    /// Tells the device about a queue in its own 64 KiB of memory, from `base` on.
    DriverQueue enable(unsigned index, std::uint16_t size, std::uint64_t base) const {
        DriverQueue queue{.memory = &board_.memory,
                          .size = size,
                          .descriptors = base,
                          .available = base + 0x4000,
                          .used = base + 0x8000,
                          .bell = bell(index)};
        board_.memory.fill_zero(GuestAddr{base}, 0x10000).value();
        set_common(22, static_cast<std::uint16_t>(index));
        set_common(24, size);
        set_common(32, queue.descriptors);
        set_common(40, queue.available);
        set_common(48, queue.used);
        set_common<std::uint16_t>(26, static_cast<std::uint16_t>(index + 1));
        set_common<std::uint16_t>(28, 1);
        return queue;
    }
    /// §3.1.1 up to FEATURES_OK, with MSI-X on and all vectors unmasked.
    void begin(std::uint64_t features = spec::F_VERSION_1) const {
        set_status(0);
        board_.turn();
        set_status(spec::ACKNOWLEDGE | spec::DRIVER);
        accept(features);
        set_status(spec::ACKNOWLEDGE | spec::DRIVER | spec::FEATURES_OK);
        const std::uint64_t table = config<std::uint32_t>(0x14) & ~0xfU;
        set_config<std::uint16_t>(msix + 2, pci::spec::MSIX_ENABLE);
        // One for the configuration and one a queue; bounded for fuzzers, whose BAR may have moved.
        for (unsigned i = 0; i < std::min(common<std::uint16_t>(18) + 1U, 9U); ++i) {
            write<std::uint32_t>(table + 16 * i, 0xfee00000);
            write<std::uint32_t>(table + 16 * i + 8, 0x40 + i);
            write<std::uint32_t>(table + 16 * i + 12, 0);
        }
        set_common<std::uint16_t>(16, 0);
    }
    void finish() const {
        set_status(status() | spec::DRIVER_OK);
        board_.turn();
    }
    /// Interrupts that came by vector (0: configuration, then one a queue).
    int interrupts(std::size_t vector) const { return board_.msi.vectors.at(vector)->triggers; }

    std::map<unsigned, std::uint64_t> structures;  ///< by cfg_type
    std::map<unsigned, unsigned> capabilities;     ///< by cfg_type
    unsigned msix = 0;

private:
    Board& board_;
    std::uint64_t ecam_;
};

}  // namespace holdfast::virtio
