// SPDX-License-Identifier: Apache-2.0
// The hostile job: misuse of devices, one named variant at a time, and the question after each
// whether the device still works or asks for reset. Which files hold which variants: hostile_queue
// (chains and rings), hostile_transport (set-up and status), hostile_pci (configuration space,
// BARs, MSI-X, ports), hostile_request (what devices read from well-formed chains).
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "guest_agent/builtin/virtio.hpp"

namespace holdfast::builtin::hostile {

/// One virtio device under attack, on one of its queues.
class Victim {
public:
    Victim(const virtio::Device& device, u16 device_type, u16 attacked_queue);

    /// Reset, negotiate, drive: as after boot.
    void restart();
    /// Whether a harmless request goes through the device's working queue as it is now.
    bool works();

    /// Writes a descriptor of the attacked queue.
    void describe(u16 index, virtio::Descriptor d);
    /// Puts a head on the attacked queue and tells the device.
    void offer(u16 head);
    /// Tells the device, whether or not there is anything.
    void notify() const { device.notify(attacked); }
    /// A descriptor chain from descriptor 0, in the order given, offered.
    void offer_chain(std::span<const virtio::Segment> segments);
    /// Gives the device a moment to act on it.
    void settle() const;

    [[nodiscard]] virtio::Queue& queue() { return queues_[attacked]; }
    [[nodiscard]] bool waits_for_outside() const { return attacked != working_; }
    /// DESC_F_WRITE where the device expects to write.
    [[nodiscard]] u16 direction() const { return is_input() ? virtio::desc::Write : u16{0}; }
    [[nodiscard]] bool is_input() const;

    virtio::Device device;
    u16 type;
    u16 attacked;
    u64 scratch;  // kScratch bytes nobody minds

    static constexpr u64 kScratch = 1 << 17;

private:
    void offer_on(u16 index, u16 head);

    u16 working_;
    u16 queue_count_;
    std::array<virtio::Queue, virtio::Device::kQueues> queues_{};
};

enum class Scope : u8 {
    Queue,   // every queue of every device
    Setup,   // the same, and no ring is usable afterwards: only reset can make the device work
    Device,  // every device, once
    Block,   // these only where there is such a device
    Net,
    Socket,
    Console,
    Machine,  // once, without a device
};

struct Variant {
    std::string_view name;
    Scope scope;
    void (*run)(Victim*);
};

std::span<const Variant> queue_variants();
std::span<const Variant> transport_variants();
std::span<const Variant> pci_variants();
std::span<const Variant> request_variants();

}  // namespace holdfast::builtin::hostile
