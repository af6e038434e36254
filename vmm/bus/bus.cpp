// SPDX-License-Identifier: Apache-2.0
#include "vmm/bus/bus.hpp"

#include <algorithm>
#include <mutex>

namespace holdfast::bus {

Result<void> Bus::add(std::uint64_t start, std::uint64_t size, Device& device) {
    if (size == 0 || start + (size - 1) < start) return input_error("bus window is empty or wraps around");
    const std::unique_lock hold{lock_};
    const auto next = std::ranges::upper_bound(windows_, start, {}, &Window::start);
    const bool hits_next = next != windows_.end() && next->start - start < size;
    const bool hits_previous =
        next != windows_.begin() && start - std::prev(next)->start < std::prev(next)->size;
    if (hits_next || hits_previous) return input_error("bus window overlaps another");
    windows_.insert(next, {start, size, &device});
    return {};
}

void Bus::remove(std::uint64_t start) {
    const std::unique_lock hold{lock_};
    std::erase_if(windows_, [start](const Window& window) { return window.start == start; });
}

Bus::Window Bus::find(std::uint64_t address, std::uint64_t size) const noexcept {
    if (size != 1 && size != 2 && size != 4 && size != 8) return {};
    const std::shared_lock hold{lock_};
    const auto next = std::ranges::upper_bound(windows_, address, {}, &Window::start);
    if (next == windows_.begin()) return {};
    const Window& window = *std::prev(next);
    const std::uint64_t offset = address - window.start;
    return offset < window.size && size <= window.size - offset ? window : Window{};
}

bool Bus::read(std::uint64_t address, std::span<std::byte> out) const noexcept {
    const Window window = find(address, out.size());
    if (window.device == nullptr) {
        std::ranges::fill(out, std::byte{0xff});
        return false;
    }
    window.device->read(address - window.start, out);
    return true;
}

bool Bus::write(std::uint64_t address, std::span<const std::byte> in) const noexcept {
    const Window window = find(address, in.size());
    if (window.device == nullptr) return false;
    window.device->write(address - window.start, in);
    return true;
}

}  // namespace holdfast::bus
