// SPDX-License-Identifier: Apache-2.0
// pvpanic-pci: how a guest says that it has panicked. QEMU 10.0, docs/specs/pvpanic.rst (PCI
// interface). Left out: the shutdown event.
#pragma once

#include <cstdint>
#include <functional>

#include "vmm/bus/device.hpp"
#include "vmm/pci/function.hpp"

namespace holdfast::pci {

class Pvpanic final : public Function {
public:
    enum class Event : std::uint8_t {
        Panicked,     ///< the guest is dead
        CrashLoaded,  ///< it panicked and now runs its own crash kernel: let it
    };
    /// `on_event` is called on the vCPU thread that reported it.
    explicit Pvpanic(std::function<void(Event)> on_event);
    std::string_view name() const noexcept override { return "pvpanic"; }

private:
    class Register final : public bus::Device {
    public:
        explicit Register(std::function<void(Event)> on_event) : on_event_{std::move(on_event)} {}
        std::string_view name() const noexcept override { return "pvpanic"; }
        void read(std::uint64_t offset, std::span<std::byte> out) noexcept override;
        void write(std::uint64_t offset, std::span<const std::byte> in) noexcept override;

    private:
        std::function<void(Event)> on_event_;
    };
    Register register_;
};

}  // namespace holdfast::pci
