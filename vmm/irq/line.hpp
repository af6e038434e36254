// SPDX-License-Identifier: Apache-2.0
// How devices interrupt the guest: lines into the I/O APIC, and message-signalled vectors.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

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

/// A level-triggered input of the I/O APIC, bound in the kernel to the events of a device of the host:
/// asserted when `raised` is signalled; at the guest's end of interrupt it is not any more, and `ended` is
/// signalled.
struct LevelLine {
    EventFd raised;
    EventFd ended;
};

/// Hands out lines; the VM implements it.
class LineSource {
public:
    LineSource() = default;
    LineSource(const LineSource&) = delete;
    LineSource& operator=(const LineSource&) = delete;
    virtual ~LineSource() = default;
    /// `gsi` is the I/O APIC's pin.
    virtual Result<LevelLine> create_level_line(std::uint32_t gsi) = 0;
};

/// PCI 3.0 §6.8: what a device writes where to interrupt.
struct MsiMessage {
    std::uint64_t address = 0;
    std::uint32_t data = 0;
    friend bool operator==(const MsiMessage&, const MsiMessage&) = default;
};

/// One vector's way into the guest. trigger() and is_pending() on any thread; the rest one thread at a time.
class MsiVector {
public:
    MsiVector() = default;
    MsiVector(const MsiVector&) = delete;
    MsiVector& operator=(const MsiVector&) = delete;
    virtual ~MsiVector() = default;
    /// Where the guest wants this vector delivered from now on, or (none, as in the beginning) that it is
    /// held back: what comes then is pending, once, and is delivered by the next route. Guest values: any
    /// message is accepted, one that makes no sense is delivered nowhere.
    virtual Result<void> route(const std::optional<MsiMessage>& message) = 0;
    virtual void trigger() noexcept = 0;
    [[nodiscard]] virtual bool is_pending() const noexcept = 0;
    /// What is pending is lost.
    virtual void forget() noexcept = 0;
};

/// Hands out vectors; vmm/irq implements it over KVM's GSI routing.
class MsiSource {
public:
    MsiSource() = default;
    MsiSource(const MsiSource&) = delete;
    MsiSource& operator=(const MsiSource&) = delete;
    virtual ~MsiSource() = default;
    virtual Result<std::unique_ptr<MsiVector>> allocate() = 0;
    /// A vector that whoever holds `event` triggers by signalling it, without us (irqfd). It is borrowed and
    /// outlives the vector.
    virtual Result<std::unique_ptr<MsiVector>> allocate(const EventFd& event) = 0;
};

}  // namespace holdfast::irq
