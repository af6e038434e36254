// SPDX-License-Identifier: Apache-2.0
#include "vmm/pci/root_complex.hpp"

#include <algorithm>

namespace holdfast::pci {

namespace {

// PCI 3.0 §3.2.2.3.2, CONFIG_ADDRESS.
constexpr std::uint32_t kAddressEnable = 1U << 31;
constexpr std::uint64_t kDataOffset = 4;

bool lies_in(const Window& window, std::uint64_t start, std::uint64_t size) noexcept {
    return start >= window.start && start - window.start < window.size &&
           size <= window.size - (start - window.start);
}

/// The first aligned place for `size` bytes at or after `next` inside the window; moves `next` on.
Result<std::uint64_t> place(const Window& window, std::uint64_t& next, std::uint64_t size) noexcept {
    std::uint64_t start = 0;
    if (__builtin_add_overflow(next, size - 1, &start)) return input_error("no room for a PCI BAR");
    start &= ~(size - 1);
    if (!lies_in(window, start, size)) return input_error("no room for a PCI BAR");
    next = start + size;
    return start;
}

}  // namespace

// 1b36:0008 is what QEMU gives its generic PCI Express host; guests know it and need no driver.
RootComplex::HostBridge::HostBridge() noexcept
    : Function{{.vendor = 0x1b36, .device = 0x0008, .class_code = 0x060000}} {}

RootComplex::RootComplex(bus::Bus& memory, const Windows& windows) noexcept
    : memory_{memory},
      windows_{windows},
      next32_{windows.mmio32.start},
      next64_{windows.mmio64.start},
      ecam_{*this},
      ports_{*this} {
    functions_[0] = &bridge_;
}

Result<void> RootComplex::add(std::uint8_t device, Function& function) {
    const Lock hold{lock_};
    if (device >= kDevices || functions_[device] != nullptr) return input_error("no free PCI device number");
    for (unsigned i = 0; i < spec::kBars; ++i) {
        const Function::Bar& bar = function.bars_[i];
        if (bar.device == nullptr) continue;
        // With 64-bit BARs above 4 GiB the small window below stays free for those that need it.
        const bool high = bar.width == BarWidth::Bits64 && windows_.mmio64.size != 0;
        function.set_bar_address(i, high ? HF_TRY(place(windows_.mmio64, next64_, bar.size))
                                         : HF_TRY(place(windows_.mmio32, next32_, bar.size)));
    }
    functions_[device] = &function;
    remap();
    return {};
}

Function* RootComplex::find(std::uint64_t address, std::size_t size) const noexcept {
    const std::uint64_t device = address >> 15;
    const std::uint64_t function = address >> 12 & 7;
    const std::uint64_t offset = address & 0xfff;
    // Beyond 256 bytes there is nothing: our functions are conventional ones behind ECAM.
    if (device >= kDevices || function != 0 || offset + size > spec::kConfigSize) return nullptr;
    return functions_[device];
}

void RootComplex::config_read(std::uint64_t address, std::span<std::byte> out) noexcept {
    const Lock hold{lock_};
    Function* const function = find(address, out.size());
    if (function == nullptr) {
        std::ranges::fill(out, std::byte{0xff});
        return;
    }
    const std::size_t offset = address & 0xfff;
    function->config_will_be_read(offset, out.size());
    std::ranges::copy(std::span{function->config_}.subspan(offset, out.size()), out.begin());
}

void RootComplex::config_write(std::uint64_t address, std::span<const std::byte> in) noexcept {
    const Lock hold{lock_};
    Function* const function = find(address, in.size());
    if (function == nullptr) return;
    const std::size_t offset = address & 0xfff;
    function->write(offset, in);
    function->config_was_written(offset, in.size());
    if (touches(offset, in.size(), spec::COMMAND, 2) ||
        touches(offset, in.size(), spec::BAR0, 4 * spec::kBars)) {
        remap();
    }
}

bool RootComplex::may_answer(std::uint64_t start, std::uint64_t size) const noexcept {
    return lies_in(windows_.mmio32, start, size) || lies_in(windows_.mmio64, start, size);
}

void RootComplex::unmap(Function& function, unsigned index, bus::Bus& bus) noexcept {
    Function::Bar& bar = function.bars_[index];
    bus.remove(*bar.mapped_at);
    bar.mapped_at.reset();
    function.bar_moved(index, std::nullopt);
}

template <typename Visit>
void RootComplex::for_each_bar(Visit visit) noexcept {
    for (Function* const function : functions_) {
        if (function == nullptr) continue;
        for (unsigned i = 0; i < spec::kBars; ++i) {
            if (function->bars_[i].device != nullptr) visit(*function, i, function->bars_[i]);
        }
    }
}

// All functions each time, not only the one written: a BAR that was refused because it overlapped
// another answers as soon as the other has moved away. At most 32 functions of 6 BARs.
void RootComplex::remap() noexcept {
    for_each_bar([&](Function& function, unsigned index, const Function::Bar& bar) {
        if (!bar.mapped_at) return;
        if (!function.decodes_memory() || function.bar_address(index) != *bar.mapped_at) {
            unmap(function, index, memory_);
        }
    });
    for_each_bar([&](Function& function, unsigned index, Function::Bar& bar) {
        const std::uint64_t address = function.bar_address(index);
        if (bar.mapped_at || !function.decodes_memory() || !may_answer(address, bar.size)) return;
        // The bus refuses overlap; then the BAR answers nowhere, which harms only who asked for it.
        if (!memory_.add(address, bar.size, *bar.device)) return;
        bar.mapped_at = address;
        function.bar_moved(index, address);
    });
}

void RootComplex::Ecam::read(std::uint64_t offset, std::span<std::byte> out) noexcept {
    root_.config_read(offset, out);
}

void RootComplex::Ecam::write(std::uint64_t offset, std::span<const std::byte> in) noexcept {
    root_.config_write(offset, in);
}

void RootComplex::Ports::read(std::uint64_t offset, std::span<std::byte> out) noexcept {
    // SAFETY: relaxed: a lone register; the guest orders its own accesses to the pair.
    const std::uint32_t address = address_.load(std::memory_order_relaxed);
    std::ranges::fill(out, std::byte{0xff});
    if (offset < kDataOffset) {
        if (offset == 0 && out.size() == sizeof address) put_field(out, 0, address);
        return;
    }
    if ((address & kAddressEnable) == 0 || (address >> 16 & 0xff) != 0) return;
    root_.config_read((address >> 8 & 0xff) << 12 | (address & 0xfc) | (offset - kDataOffset), out);
}

void RootComplex::Ports::write(std::uint64_t offset, std::span<const std::byte> in) noexcept {
    if (offset < kDataOffset) {
        if (offset == 0 && in.size() == sizeof(std::uint32_t)) {
            address_.store(get_field<std::uint32_t>(in, 0),
                           std::memory_order_relaxed);  // SAFETY: as read()
        }
        return;
    }
    const std::uint32_t address = address_.load(std::memory_order_relaxed);  // SAFETY: as read()
    if ((address & kAddressEnable) == 0 || (address >> 16 & 0xff) != 0) return;
    root_.config_write((address >> 8 & 0xff) << 12 | (address & 0xfc) | (offset - kDataOffset), in);
}

}  // namespace holdfast::pci
