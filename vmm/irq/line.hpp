// SPDX-License-Identifier: Apache-2.0
// How devices interrupt the guest: edge lines into the I/O APIC, and message-signalled vectors.
#pragma once

#include <cstdint>
#include <memory>

#include "sys/eventfd.hpp"
#include "sys/result.hpp"

namespace holdfast::irq {

/// An edge-triggered input of the I/O APIC. The eventfd is bound to the GSI in the kernel (irqfd).
class Line {
public:
    explicit Line(EventFd event) noexcept : event_{std::move(event)} {}
    /// One edge. Any thread.
    void trigger() const noexcept { event_.signal(); }
    [[nodiscard]] const EventFd& event() const noexcept { return event_; }

private:
    EventFd event_;
};

/// PCI 3.0 §6.8: what a device writes where to interrupt.
struct MsiMessage {
    std::uint64_t address = 0;
    std::uint32_t data = 0;
    friend bool operator==(const MsiMessage&, const MsiMessage&) = default;
};

/// One vector's way into the guest. trigger() on any thread; route() one thread at a time.
class MsiVector {
public:
    MsiVector() = default;
    MsiVector(const MsiVector&) = delete;
    MsiVector& operator=(const MsiVector&) = delete;
    virtual ~MsiVector() = default;
    /// Where the guest wants this vector delivered. Guest values: any message is accepted, one that
    /// makes no sense is delivered nowhere.
    virtual Result<void> route(const MsiMessage& message) = 0;
    /// Delivers by the last route; before the first it does nothing.
    virtual void trigger() noexcept = 0;
};

/// Hands out vectors; vmm/irq implements it over KVM's GSI routing.
class MsiSource {
public:
    MsiSource() = default;
    MsiSource(const MsiSource&) = delete;
    MsiSource& operator=(const MsiSource&) = delete;
    virtual ~MsiSource() = default;
    virtual Result<std::unique_ptr<MsiVector>> allocate() = 0;
};

}  // namespace holdfast::irq
