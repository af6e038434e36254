// SPDX-License-Identifier: Apache-2.0
#include "vmm/pci/function.hpp"

#include <algorithm>
#include <bit>

#include "sys/result.hpp"

namespace holdfast::pci {

Function::Function(const Identity& identity) noexcept {
    put_field(config_, spec::VENDOR_ID, identity.vendor);
    put_field(config_, spec::DEVICE_ID, identity.device);
    put_field(config_, spec::REVISION_ID, identity.class_code << 8 | identity.revision);
    put_field(config_, spec::SUBSYSTEM_VENDOR_ID, identity.subsystem_vendor);
    put_field(config_, spec::SUBSYSTEM_ID, identity.subsystem);
    put_field<std::uint16_t>(writable_, spec::COMMAND,
                             spec::COMMAND_MEMORY | spec::COMMAND_MASTER | spec::COMMAND_INTX_DISABLE);
    put_field<std::uint8_t>(writable_, spec::INTERRUPT_LINE, 0xff);
}

void Function::add_bar(unsigned index, std::uint64_t size, BarWidth width, bus::Device& device) noexcept {
    const unsigned registers = width == BarWidth::Bits64 ? 2 : 1;
    check(index + registers <= spec::kBars && bars_[index].device == nullptr, "BAR index");
    check(std::has_single_bit(size) && size >= 16, "BAR size");
    bars_[index] = {.device = &device, .size = size, .width = width};
    const std::size_t at = spec::BAR0 + 4 * index;
    // Sizing (§6.2.5.1) needs nothing else: all ones written, only the bits above the size stick.
    const std::uint64_t mask = ~(size - 1);
    put_field(writable_, at, static_cast<std::uint32_t>(mask));
    if (width == BarWidth::Bits64) {
        put_field(config_, at, spec::BAR_64BIT);
        put_field(writable_, at + 4, static_cast<std::uint32_t>(mask >> 32));
    }
    put_field(config_, spec::COMMAND, spec::COMMAND_MEMORY);
}

std::size_t Function::add_capability(std::span<const std::byte> bytes,
                                     std::span<const std::byte> writable) noexcept {
    const std::size_t at = next_capability_;
    check(bytes.size() >= 2 && at + bytes.size() <= spec::kConfigSize, "capability size");
    check(writable.size() <= bytes.size(), "capability mask");
    std::ranges::copy(bytes, config_.begin() + static_cast<std::ptrdiff_t>(at));
    std::ranges::copy(writable, writable_.begin() + static_cast<std::ptrdiff_t>(at));
    config_[at + 1] = std::byte{0};
    config_[last_link_] = static_cast<std::byte>(at);
    last_link_ = at + 1;
    next_capability_ = (at + bytes.size() + 3) & ~std::size_t{3};
    put_field(config_, spec::STATUS, spec::STATUS_CAPABILITIES);
    return at;
}

void Function::write(std::size_t offset, std::span<const std::byte> in) noexcept {
    for (std::size_t i = 0; i < in.size(); ++i) {
        const std::byte mask = writable_[offset + i];
        config_[offset + i] = (config_[offset + i] & ~mask) | (in[i] & mask);
    }
}

std::uint64_t Function::bar_address(unsigned index) const noexcept {
    const std::size_t at = spec::BAR0 + 4 * index;
    const std::uint64_t low = get_field<std::uint32_t>(config_, at) & ~std::uint64_t{0xf};
    if (bars_[index].width == BarWidth::Bits32) return low;
    return low | std::uint64_t{get_field<std::uint32_t>(config_, at + 4)} << 32;
}

void Function::set_bar_address(unsigned index, std::uint64_t address) noexcept {
    const std::size_t at = spec::BAR0 + 4 * index;
    const auto type = get_field<std::uint32_t>(config_, at) & 0xf;
    put_field(config_, at, static_cast<std::uint32_t>(address) | type);
    if (bars_[index].width == BarWidth::Bits64) {
        put_field(config_, at + 4, static_cast<std::uint32_t>(address >> 32));
    }
}

bool Function::decodes_memory() const noexcept {
    return (get_field<std::uint16_t>(config_, spec::COMMAND) & spec::COMMAND_MEMORY) != 0;
}

}  // namespace holdfast::pci
