// SPDX-License-Identifier: Apache-2.0
// MSI of one function (PCI 3.0 §6.8.1): one vector with a 64-bit address, which cannot be masked.
#pragma once

#include <array>
#include <memory>
#include <span>

#include "sys/result.hpp"
#include "vmm/irq/line.hpp"

namespace holdfast::pci {

/// One thread at a time.
class Msi {
public:
    static constexpr std::size_t kCapabilitySize = 14;
    using Capability = std::array<std::byte, kCapabilitySize>;

    /// `event`, which a device of the host signals, is borrowed.
    static Result<std::unique_ptr<Msi>> create(irq::MsiSource& source, const EventFd& event);

    [[nodiscard]] static Capability capability() noexcept;
    /// Which of its bits are the guest's.
    [[nodiscard]] static Capability writable() noexcept;
    /// The guest has written the capability, which is this now.
    void set(std::span<const std::byte, kCapabilitySize> capability) noexcept;
    [[nodiscard]] bool enabled() const noexcept { return enabled_; }

private:
    explicit Msi(std::unique_ptr<irq::MsiVector> vector) noexcept : vector_{std::move(vector)} {}
    std::unique_ptr<irq::MsiVector> vector_;
    bool enabled_ = false;
};

}  // namespace holdfast::pci
