// SPDX-License-Identifier: Apache-2.0
// MSI-X of one function (PCI 3.0 §6.8.2): capability, table and pending bits. Table and pending
// bits share one BAR of kBarSize bytes.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "sys/result.hpp"
#include "sys/thread.hpp"
#include "vmm/bus/device.hpp"
#include "vmm/irq/line.hpp"

namespace holdfast::pci {

/// The BAR's register window. Accesses come on any vCPU thread; trigger() on any thread.
class Msix final : public bus::Device {
public:
    static constexpr std::uint64_t kBarSize = 4096;
    static constexpr std::uint64_t kPendingOffset = 2048;
    static constexpr std::uint16_t kMaxVectors = 64;  ///< one 64-bit word of pending bits
    static constexpr std::size_t kCapabilitySize = 12;
    using Capability = std::array<std::byte, kCapabilitySize>;

    /// 1..kMaxVectors vectors, which trigger() triggers.
    static Result<std::unique_ptr<Msix>> create(irq::MsiSource& source, std::uint16_t vectors);
    /// One vector for each event, which a device of the host signals; borrowed.
    static Result<std::unique_ptr<Msix>> create(irq::MsiSource& source, std::span<const EventFd> events);

    [[nodiscard]] std::uint16_t vectors() const noexcept {
        return static_cast<std::uint16_t>(entries_.size());
    }
    /// The capability for a table in this BAR, and which of its bits are the guest's.
    [[nodiscard]] Capability capability(unsigned bar) const noexcept;
    [[nodiscard]] static Capability writable() noexcept;
    /// The guest has written the capability's control word.
    void set_control(std::uint16_t control) noexcept HF_EXCLUDES(routes_) HF_EXCLUDES(state_);

    /// Delivers the vector, or it is pending while it is masked. Nothing for a vector that does not exist or
    /// while MSI-X is off.
    void trigger(std::uint16_t vector) noexcept HF_EXCLUDES(state_);

    std::string_view name() const noexcept override { return "msix"; }
    void read(std::uint64_t offset, std::span<std::byte> out) noexcept override HF_EXCLUDES(state_);
    void write(std::uint64_t offset, std::span<const std::byte> in) noexcept override HF_EXCLUDES(routes_)
        HF_EXCLUDES(state_);

private:
    struct Entry {
        std::unique_ptr<irq::MsiVector> vector;
        irq::MsiMessage message;
        std::optional<irq::MsiMessage> routed;
        bool masked = true;  ///< §6.8.2.9: masked after reset
    };
    explicit Msix(std::vector<std::unique_ptr<irq::MsiVector>> vectors);
    /// After a change: routes the vector if it may be delivered, or holds it back.
    void settle(std::size_t index) noexcept HF_REQUIRES(routes_) HF_EXCLUDES(state_);
    [[nodiscard]] std::uint64_t pending() const noexcept HF_REQUIRES(state_);

    // Routing is a slow system call. It happens under routes_ only, so that a device thread that
    // wants to interrupt waits for state_ at most, which nobody holds for long.
    Mutex routes_;
    Mutex state_;
    std::vector<Entry> entries_;
    bool enabled_ HF_GUARDED_BY(state_) = false;
    bool function_masked_ HF_GUARDED_BY(state_) = false;
};

}  // namespace holdfast::pci
