// SPDX-License-Identifier: Apache-2.0
// The devices of the host that a guest has, and the IOMMU that stands before all of them: one address space
// of the host a device, which holds what the guest has granted and the policy allows, and nothing else.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "iommu/host/type1.hpp"
#include "iommu/virtio/guest_iommu.hpp"
#include "memcrypt/guest_memory.hpp"
#include "sys/rate.hpp"
#include "vmm/launch.hpp"
#include "vmm/pci/root_complex.hpp"
#include "vmm/vfio/function.hpp"
#include "vmm/vfio/pages.hpp"
#include "vmm/virtio/iommu.hpp"
#include "vmm/virtio/pci_transport.hpp"

namespace holdfast::vfio {

/// Made and ended by the main thread. Has no thread of its own: a guest's processor spins until its request
/// to the IOMMU is answered, so its vCPU thread answers it; interrupts go from kernel to kernel.
class Assigned final : public iommu::virtio::Witness {
public:
    struct Hooks {
        std::function<void(const Error&)> failed;  ///< any thread: the VM must end
        std::function<void()> happened;            ///< any thread: take_events() has something
    };
    /// What is borrowed outlives this.
    struct Parts {
        const memcrypt::GuestMemory& memory;
        irq::MsiSource& interrupts;
        irq::LineSource& lines;
        bus::Doorbells& doorbells;
        bus::Slots& slots;
        pci::RootComplex& pci;
    };
    /// `slot` is the IOMMU's device number; those of the devices follow.
    static Result<std::unique_ptr<Assigned>> create(const Parts& parts,
                                                    std::span<const vmm::DeviceShape> shapes,
                                                    std::vector<vmm::DeviceFds> fds, std::uint8_t slot,
                                                    Hooks hooks);
    ~Assigned() override;

    /// The devices do nothing any more. Before guest memory is wiped.
    void shut_down() noexcept;

    struct Events {
        std::vector<vmm::DeviceEvent> events;
        std::uint32_t left_out = 0;
    };
    /// At most kMaxDeviceEvents of what happened, oldest first; nothing if nothing has.
    [[nodiscard]] Events take_events() HF_EXCLUDES(events_lock_);

    /// What the device with this address in the host finds at an address. An Input error: there is no such
    /// device here.
    [[nodiscard]] Result<std::optional<iommu::Mapping>> find(std::string_view address,
                                                             iommu::Iova iova) const;
    [[nodiscard]] iommu::Usage usage() const noexcept { return service_.usage(); }

private:
    struct Unit {
        std::uint32_t endpoint = 0;
        std::unique_ptr<iommu::host::Type1Space> space;
        std::unique_ptr<Function> function;
        UniqueFd group;                       ///< open as long as the device is used
        std::optional<std::uint32_t> domain;  ///< the last it was in; under the GuestIommu's lock
        bool inside = false;                  ///< it is in it still
    };

    Assigned(const Parts& parts, Hooks hooks);
    Result<void> add(const Parts& parts, const vmm::DeviceShape& shape, vmm::DeviceFds fds,
                     std::uint8_t slot);
    void answer() noexcept HF_EXCLUDES(answering_);

    // Any vCPU thread, one at a time.
    void granted(std::uint32_t domain, const iommu::Mapping& mapping) noexcept override;
    void refused(std::uint32_t domain, const iommu::Mapping& wanted, iommu::Refusal why) noexcept override;
    void revoked(std::uint32_t domain, iommu::IovaRange range, std::uint64_t mappings) noexcept override;
    void moved(std::uint32_t endpoint, std::optional<std::uint32_t> domain,
               std::uint64_t mappings) noexcept override;
    void lost() noexcept override;
    void note(std::uint32_t domain, vmm::DeviceEvent event) noexcept HF_EXCLUDES(events_lock_);

    const Hooks hooks_;
    std::vector<std::string> addresses_;
    Pages pages_;
    iommu::virtio::GuestIommu service_;
    virtio::Iommu device_;
    std::vector<Unit> units_;
    Mutex answering_;
    std::unique_ptr<virtio::PciTransport> transport_;

    Mutex events_lock_;
    std::vector<vmm::DeviceEvent> events_ HF_GUARDED_BY(events_lock_);
    std::uint32_t left_out_ HF_GUARDED_BY(events_lock_) = 0;
    TokenBucket budget_ HF_GUARDED_BY(events_lock_);
};

}  // namespace holdfast::vfio
