// SPDX-License-Identifier: Apache-2.0
// Virtio over PCI (Virtio 1.2 §4.1), modern only: one PCI function in front of a virtio::Device.
// BAR 0 holds the four register structures, BAR 1 MSI-X. Left out: INTx (without MSI-X the driver
// polls), queue reset, notification data, shared memory.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "memcrypt/guest_memory.hpp"
#include "sys/eventfd.hpp"
#include "sys/result.hpp"
#include "sys/thread.hpp"
#include "vmm/bus/device.hpp"
#include "vmm/bus/doorbell.hpp"
#include "vmm/irq/line.hpp"
#include "vmm/pci/function.hpp"
#include "vmm/pci/msix.hpp"
#include "vmm/virtio/device.hpp"
#include "vmm/virtio/spec.hpp"

namespace holdfast::virtio {

struct TransportOptions {
    bool access_platform = false;  ///< offer, and require, F_ACCESS_PLATFORM
    /// Called instead of attention() being signalled, on the vCPU thread that asked and before it goes on,
    /// several at once: for a device whose driver spins until it is answered. Every kick comes, none is
    /// suppressed.
    std::function<void()> attend;
};

/// Two sides. vCPU threads come through configuration space and BAR 0 and touch registers only,
/// under lock_. The device thread owns the queues and the device; it comes through the calls below.
/// What the driver asks of it (start, reset) is left in request_ and attention() is signalled; a
/// reset is complete, and device_status reads 0, when the device thread has done it (§4.1.4.3.1
/// lets it wait).
class PciTransport final : public pci::Function {
public:
    /// Everything is borrowed and outlives the transport.
    static Result<std::unique_ptr<PciTransport>> create(Device& device, const memcrypt::GuestMemory& memory,
                                                        irq::MsiSource& interrupts, bus::Doorbells& doorbells,
                                                        const TransportOptions& options = {});
    ~PciTransport() override;
    std::string_view name() const noexcept override { return description_.name; }

    // The device thread's side.

    /// Signalled when the driver kicks a queue or changes the status.
    [[nodiscard]] const EventFd& attention() const noexcept { return attention_; }
    /// Carries out what the driver asked for since the last call: starts the device, or resets it
    /// once it is idle. True if it started.
    bool settle() noexcept HF_EXCLUDES(lock_);
    /// Started, and not asking for a reset.
    [[nodiscard]] bool is_running() const noexcept { return running_ && !broken_; }
    [[nodiscard]] Device& device() const noexcept { return device_; }
    [[nodiscard]] const Description& description() const noexcept { return description_; }
    /// Whether a queue the device wants chains of has one.
    [[nodiscard]] bool has_work() noexcept;
    /// Lets the device run, if it may. Faults make it ask for a reset.
    void run() noexcept;
    /// Hands a completion to the device.
    void complete(io::Completion completion) noexcept;
    /// Shows used buffers to the driver and interrupts where it wants that.
    void publish() noexcept;
    /// Before sleeping: asks for notifications; true if there is work already.
    [[nodiscard]] bool arm() noexcept;

private:
    static constexpr std::uint64_t kBarSize = 0x4000;
    static constexpr std::uint64_t kCommonOffset = 0x0000;
    static constexpr std::uint64_t kIsrOffset = 0x1000;
    static constexpr std::uint64_t kDeviceOffset = 0x2000;
    static constexpr std::uint64_t kNotifyOffset = 0x3000;
    static constexpr std::uint64_t kSectionSize = 0x1000;
    static constexpr std::uint32_t kNotifyMultiplier = 4;
    static constexpr std::size_t kMaxQueues = 8;

    class Registers final : public bus::Device {
    public:
        explicit Registers(PciTransport& transport) noexcept : transport_{transport} {}
        std::string_view name() const noexcept override { return transport_.name(); }
        void read(std::uint64_t offset, std::span<std::byte> out) noexcept override;
        void write(std::uint64_t offset, std::span<const std::byte> in) noexcept override;

    private:
        PciTransport& transport_;
    };
    struct QueueRegisters {
        std::uint16_t size = 0;
        bool enabled = false;
        std::uint64_t descriptors = 0;
        std::uint64_t available = 0;
        std::uint64_t used = 0;
    };
    enum class Request : std::uint8_t { None, Start, Reset };

    PciTransport(virtio::Device& device, const memcrypt::GuestMemory& memory, bus::Doorbells& doorbells,
                 std::unique_ptr<pci::Msix> msix, EventFd attention, const TransportOptions& options);
    void add_capabilities();
    void config_will_be_read(std::size_t offset, std::size_t size) noexcept override;
    void config_was_written(std::size_t offset, std::size_t size) noexcept override;
    void bar_moved(unsigned index, std::optional<std::uint64_t> address) noexcept override;
    [[nodiscard]] std::optional<std::uint64_t> window_access(std::size_t& size) const noexcept;
    void call_attention() noexcept HF_EXCLUDES(lock_);

    void read_common(std::uint64_t offset, std::span<std::byte> out) noexcept HF_EXCLUDES(lock_);
    void write_common(std::uint64_t offset, std::span<const std::byte> in) noexcept HF_EXCLUDES(lock_);
    void write_queue(std::uint64_t offset, std::span<const std::byte> in) noexcept HF_REQUIRES(lock_);
    void write_status(std::uint8_t value) noexcept HF_REQUIRES(lock_);
    void clear_registers() noexcept HF_REQUIRES(lock_);
    [[nodiscard]] bool accepts_features() const noexcept HF_REQUIRES(lock_);
    [[nodiscard]] std::uint16_t valid_vector(std::uint64_t vector) const noexcept;

    Result<void> build_queues() noexcept HF_REQUIRES(lock_);
    void ask_for_reset(const Error& error) noexcept HF_EXCLUDES(lock_);
    void interrupt(std::uint8_t isr, const std::atomic<std::uint16_t>& vector) noexcept;

    virtio::Device& device_;
    const memcrypt::GuestMemory& memory_;
    bus::Doorbells& doorbells_;
    const Description description_;
    const std::uint64_t offered_;
    const bool access_platform_;
    const std::function<void()> attend_;
    const std::unique_ptr<pci::Msix> msix_;
    const EventFd attention_;
    Registers registers_;
    std::size_t msix_capability_ = 0;
    std::size_t window_capability_ = 0;          ///< PCI_CAP_PCI_CFG
    std::optional<std::uint64_t> doorbells_at_;  ///< BAR 0's address, under the root complex's lock

    Mutex lock_;
    std::uint8_t status_ HF_GUARDED_BY(lock_) = 0;
    std::uint8_t generation_ HF_GUARDED_BY(lock_) = 0;
    std::uint32_t device_feature_select_ HF_GUARDED_BY(lock_) = 0;
    std::uint32_t driver_feature_select_ HF_GUARDED_BY(lock_) = 0;
    std::uint64_t driver_features_ HF_GUARDED_BY(lock_) = 0;
    std::uint16_t queue_select_ HF_GUARDED_BY(lock_) = 0;
    std::array<QueueRegisters, kMaxQueues> registers_of_queues_ HF_GUARDED_BY(lock_){};

    std::atomic<std::uint16_t> config_vector_{spec::NO_VECTOR};
    std::array<std::atomic<std::uint16_t>, kMaxQueues> queue_vectors_{};
    std::atomic<std::uint8_t> isr_{0};
    std::atomic<Request> request_{Request::None};

    // The device thread's.
    std::vector<Queue> queues_;
    bool running_ = false;  ///< the device was started and not yet stopped
    bool broken_ = false;   ///< it asked for a reset
};

}  // namespace holdfast::virtio
