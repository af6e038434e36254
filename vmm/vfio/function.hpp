// SPDX-License-Identifier: Apache-2.0
// A device of the host as a PCI function of the guest. Configuration space is ours: of the real one only what
// names the device is copied, so what is not known to be safe is not there (no ATS, PRI, ROM, I/O ports,
// nor extended space). Pages of memory BARs are the guest's as they are, but for those that hold the
// device's own interrupt table, which answers nowhere: these are trapped. MSI-X lives in a BAR of its own,
// whose table the device never sees. A device without MSI-X has one vector of MSI, if it has that. Left out:
// more of MSI, PCI Express and power management capabilities. Its interrupt line is the guest's only if that
// is asked for, while its driver has no messages on.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "iommu/host/device.hpp"
#include "sys/eventfd.hpp"
#include "sys/mapping.hpp"
#include "sys/thread.hpp"
#include "vmm/bus/slots.hpp"
#include "vmm/irq/line.hpp"
#include "vmm/pci/function.hpp"
#include "vmm/pci/msi.hpp"
#include "vmm/pci/msix.hpp"

namespace holdfast::vfio {

/// Registers and set_reachable() come on vCPU threads.
class Function final : public pci::Function {
public:
    /// The VM's side; outlives the function.
    struct Parts {
        irq::MsiSource& interrupts;
        bus::Slots& slots;
    };
    /// `device` is reset and does nothing then. `failed` hears, on any thread, that the device could not be
    /// kept from mastering the bus: the VM must end. `line` is what its INTA drives, if it has that. One
    /// without a free BAR for the interrupt table is an Input error.
    static Result<std::unique_ptr<Function>> create(iommu::host::Device device, std::string address,
                                                    const Parts& parts, std::optional<irq::LevelLine> line,
                                                    std::function<void(const Error&)> failed);
    std::string_view name() const noexcept override { return address_; }

    /// Whether anything is granted to it. It masters the bus while there is, and its driver wants it.
    void set_reachable(bool reachable) noexcept HF_EXCLUDES(lock_);
    /// The last thing: no bus mastering, no interrupts, and a reset. The guest's registers are dead.
    void shut_down() noexcept HF_EXCLUDES(lock_);

    /// What the device's vectors signal.
    [[nodiscard]] std::span<const EventFd> signals() const noexcept { return signals_; }

private:
    /// Bytes of a BAR that the guest does not get at.
    struct Hidden {
        unsigned bar = 0;
        std::uint64_t offset = 0;
        std::uint64_t size = 0;
    };
    struct Shape {
        pci::Identity identity;
        iommu::host::Interrupts kind = iommu::host::Interrupts::Msix;
        std::uint16_t vectors = 0;
        bool has_line = false;
        std::vector<Hidden> hidden;
    };
    class Window final : public bus::Device {
    public:
        static Result<std::unique_ptr<Window>> create(const Function& function, unsigned bar,
                                                      std::vector<Hidden> hidden);
        ~Window() override { move_to(std::nullopt); }
        [[nodiscard]] unsigned bar() const noexcept { return bar_; }
        [[nodiscard]] std::uint64_t size() const noexcept { return region_.size; }
        /// Its pages are the guest's at this address, or (none) nowhere.
        void move_to(std::optional<std::uint64_t> address) noexcept;
        std::string_view name() const noexcept override { return function_.name(); }
        void read(std::uint64_t offset, std::span<std::byte> out) noexcept override;
        void write(std::uint64_t offset, std::span<const std::byte> in) noexcept override;

    private:
        /// Whole pages without a hidden byte.
        struct Pages {
            std::uint64_t offset = 0;
            Mapping bytes;
            std::optional<std::uint64_t> mapped_at;
        };
        Window(const Function& function, unsigned bar, const iommu::host::Region& region,
               std::vector<Hidden> hidden) noexcept
            : function_{function}, bar_{bar}, region_{region}, hidden_{std::move(hidden)} {}
        Result<void> open_pages();
        [[nodiscard]] bool is_hidden(std::uint64_t offset, std::size_t size) const noexcept;
        const Function& function_;
        const unsigned bar_;
        const iommu::host::Region region_;
        const std::vector<Hidden> hidden_;
        std::vector<Pages> pages_;
    };

    Function(iommu::host::Device device, std::string address, const Shape& shape, const Parts& parts,
             std::vector<EventFd> signals, std::optional<irq::LevelLine> line,
             std::function<void(const Error&)> failed);
    static Result<Shape> read_shape(const iommu::host::Device& device);
    static Result<void> read_interrupts(const iommu::host::Device& device,
                                        std::span<const std::byte, pci::spec::kConfigSize> config,
                                        Shape& shape);
    Result<void> add_bars(const Shape& shape);
    Result<void> add_interrupts(iommu::host::Interrupts kind);
    [[nodiscard]] std::uint16_t msix_control() const noexcept;
    void bar_moved(unsigned index, std::optional<std::uint64_t> address) noexcept override;
    void config_was_written(std::size_t offset, std::size_t size) noexcept override HF_EXCLUDES(lock_);
    [[nodiscard]] std::optional<iommu::host::Interrupts> wanted_interrupts() const noexcept
        HF_REQUIRES(lock_);
    Result<void> connect(iommu::host::Interrupts kind) const;
    void settle_interrupts() noexcept HF_REQUIRES(lock_);
    void settle_bus_master() noexcept HF_REQUIRES(lock_);

    const iommu::host::Device device_;
    const std::string address_;
    const Parts parts_;
    const std::function<void(const Error&)> failed_;
    const std::vector<EventFd> signals_;
    const std::optional<irq::LevelLine> line_;
    std::unique_ptr<pci::Msix> msix_;  ///< this or the next, or none of the two: the device has no vectors
    std::unique_ptr<pci::Msi> msi_;
    std::vector<std::unique_ptr<Window>> windows_;
    std::array<bool, pci::spec::kBars> taken_{};
    std::size_t capability_ = 0;  ///< of the interrupts

    Mutex lock_;
    bool wanted_ HF_GUARDED_BY(lock_) = false;  ///< the driver has switched bus mastering on
    bool reachable_ HF_GUARDED_BY(lock_) = false;
    bool masters_ HF_GUARDED_BY(lock_) = false;
    std::optional<iommu::host::Interrupts> connected_ HF_GUARDED_BY(lock_);
    bool down_ HF_GUARDED_BY(lock_) = false;
};

}  // namespace holdfast::vfio
