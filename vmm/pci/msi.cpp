// SPDX-License-Identifier: Apache-2.0
#include "vmm/pci/msi.hpp"

#include <optional>

#include "sys/log.hpp"
#include "vmm/pci/function.hpp"
#include "vmm/pci/spec.hpp"

namespace holdfast::pci {

Result<std::unique_ptr<Msi>> Msi::create(irq::MsiSource& source, const EventFd& event) {
    return std::unique_ptr<Msi>{new Msi{HF_TRY(source.allocate(event))}};
}

Msi::Capability Msi::capability() noexcept {
    Capability bytes{};
    put_field<std::uint8_t>(bytes, 0, spec::CAP_MSI);
    put_field(bytes, spec::MSI_CONTROL, spec::MSI_64BIT);
    return bytes;
}

Msi::Capability Msi::writable() noexcept {
    Capability mask{};
    put_field(mask, spec::MSI_CONTROL, spec::MSI_ENABLE);
    put_field(mask, spec::MSI_ADDRESS, ~std::uint64_t{3});
    put_field(mask, spec::MSI_DATA, std::uint16_t{0xffff});
    return mask;
}

void Msi::set(std::span<const std::byte, kCapabilitySize> capability) noexcept {
    const bool enabled = (get_field<std::uint16_t>(capability, spec::MSI_CONTROL) & spec::MSI_ENABLE) != 0;
    // What came while MSI was off is no interrupt.
    if (enabled && !enabled_) vector_->forget();
    enabled_ = enabled;
    std::optional<irq::MsiMessage> message;
    if (enabled) {
        message = {.address = get_field<std::uint64_t>(capability, spec::MSI_ADDRESS),
                   .data = get_field<std::uint16_t>(capability, spec::MSI_DATA)};
    }
    if (const auto routed = vector_->route(message); !routed) log::warn("msi.route", routed.error());
}

}  // namespace holdfast::pci
