// SPDX-License-Identifier: Apache-2.0
// The PCI root complex: bus 0 with its host bridge, configuration access through ECAM (PCI Express
// 5.0 §7.2.2) and through ports 0xcf8/0xcfc (PCI 3.0 §3.2.2.3.2), and where BARs may answer.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>

#include "sys/result.hpp"
#include "sys/thread.hpp"
#include "vmm/bus/bus.hpp"
#include "vmm/pci/function.hpp"

namespace holdfast::pci {

inline constexpr std::uint64_t kEcamStart = 0xe0000000;
inline constexpr std::uint64_t kEcamSize = 1ULL << 20;  ///< bus 0
inline constexpr std::uint64_t kConfigPort = 0xcf8;
inline constexpr std::uint64_t kConfigPortSize = 8;
inline constexpr std::uint64_t kMmio32Start = 0xc0000000;
inline constexpr std::uint64_t kMmio32Size = 0x20000000;

struct Window {
    std::uint64_t start = 0;
    std::uint64_t size = 0;
};

/// BARs answer only inside these windows, so never over RAM, ECAM or interrupt controllers: whoever
/// builds the VM keeps those out of the windows and says the same in ACPI.
struct Windows {
    Window mmio32{kMmio32Start, kMmio32Size};
    Window mmio64;  ///< may be empty
};

/// Configuration accesses come on any vCPU thread and are serialised here. Lock order: ours, then a
/// function's own. The lock is held while a BAR moves (bus window, ioeventfds): moves must happen
/// in the order the guest asked for them.
class RootComplex {
public:
    /// `memory` is where BARs answer.
    RootComplex(bus::Bus& memory, const Windows& windows) noexcept;
    RootComplex(const RootComplex&) = delete;
    RootComplex& operator=(const RootComplex&) = delete;

    /// Puts a function at 00:device.0 (1..31), gives its BARs addresses and lets them answer. The
    /// function is borrowed and outlives the vCPUs. Before the first vCPU runs.
    Result<void> add(std::uint8_t device, Function& function);

    /// For the memory bus at kEcamStart, kEcamSize.
    [[nodiscard]] bus::Device& ecam() noexcept { return ecam_; }
    /// For the port bus at kConfigPort, kConfigPortSize.
    [[nodiscard]] bus::Device& ports() noexcept { return ports_; }

private:
    static constexpr std::size_t kDevices = 32;

    class HostBridge final : public Function {
    public:
        HostBridge() noexcept;
        std::string_view name() const noexcept override { return "pci-host"; }
    };
    class Ecam final : public bus::Device {
    public:
        explicit Ecam(RootComplex& root) noexcept : root_{root} {}
        std::string_view name() const noexcept override { return "pci-ecam"; }
        void read(std::uint64_t offset, std::span<std::byte> out) noexcept override;
        void write(std::uint64_t offset, std::span<const std::byte> in) noexcept override;

    private:
        RootComplex& root_;
    };
    class Ports final : public bus::Device {
    public:
        explicit Ports(RootComplex& root) noexcept : root_{root} {}
        std::string_view name() const noexcept override { return "pci-ports"; }
        void read(std::uint64_t offset, std::span<std::byte> out) noexcept override;
        void write(std::uint64_t offset, std::span<const std::byte> in) noexcept override;

    private:
        RootComplex& root_;
        std::atomic<std::uint32_t> address_{0};
    };

    /// `address` is ECAM's: device << 15 | function << 12 | register, on bus 0.
    void config_read(std::uint64_t address, std::span<std::byte> out) noexcept;
    void config_write(std::uint64_t address, std::span<const std::byte> in) noexcept;
    [[nodiscard]] Function* find(std::uint64_t address, std::size_t size) const noexcept HF_REQUIRES(lock_);
    [[nodiscard]] bool may_answer(std::uint64_t start, std::uint64_t size) const noexcept;
    template <typename Visit>
    void for_each_bar(Visit visit) noexcept HF_REQUIRES(lock_);
    void remap() noexcept HF_REQUIRES(lock_);
    static void unmap(Function& function, unsigned index, bus::Bus& bus) noexcept;

    bus::Bus& memory_;
    const Windows windows_;
    Mutex lock_;
    std::array<Function*, kDevices> functions_ HF_GUARDED_BY(lock_){};
    std::uint64_t next32_ HF_GUARDED_BY(lock_);
    std::uint64_t next64_ HF_GUARDED_BY(lock_);
    HostBridge bridge_;
    Ecam ecam_;
    Ports ports_;
};

}  // namespace holdfast::pci
