// SPDX-License-Identifier: Apache-2.0
// One PCI function as its root complex sees it: 256 bytes of configuration space in which every bit
// is read-only unless it was declared writable, memory BARs, and a capability list. PCI 3.0 §6.
// Left out: I/O BARs, expansion ROMs, and bus mastering as a condition for DMA.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "vmm/bus/device.hpp"
#include "vmm/pci/spec.hpp"

namespace holdfast::pci {

struct Identity {
    std::uint16_t vendor = 0;
    std::uint16_t device = 0;
    std::uint32_t class_code = 0;  ///< 24 bits: base class, sub-class, interface
    std::uint8_t revision = 0;
    std::uint16_t subsystem_vendor = 0;
    std::uint16_t subsystem = 0;
};

enum class BarWidth : std::uint8_t { Bits32, Bits64 };

/// Configuration space is touched by the root complex only, under its lock; so are the hooks. A
/// hook may take the function's own locks but must not access configuration space of another
/// function.
class Function {
public:
    Function(const Function&) = delete;
    Function& operator=(const Function&) = delete;
    virtual ~Function() = default;
    [[nodiscard]] virtual std::string_view name() const noexcept = 0;

protected:
    explicit Function(const Identity& identity) noexcept;

    /// A memory BAR of `size` bytes (a power of two, at least 16) behind which `device` answers; a
    /// 64-bit one also takes index + 1. For constructors.
    void add_bar(unsigned index, std::uint64_t size, BarWidth width, bus::Device& device) noexcept;
    /// Appends a capability. `bytes` begins with its id; the next-pointer behind it is filled in.
    /// `writable` has a bit set for each bit the guest may change; shorter than `bytes` means the
    /// rest is read-only. Returns where it lies. For constructors.
    std::size_t add_capability(std::span<const std::byte> bytes,
                               std::span<const std::byte> writable) noexcept;

    [[nodiscard]] std::span<std::byte, spec::kConfigSize> config() noexcept { return config_; }
    [[nodiscard]] std::span<const std::byte, spec::kConfigSize> config() const noexcept { return config_; }

    /// Before the guest reads [offset, offset + size): bring config() up to date.
    virtual void config_will_be_read(std::size_t /*offset*/, std::size_t /*size*/) noexcept {}
    /// The guest has written there; read-only bits are as before.
    virtual void config_was_written(std::size_t /*offset*/, std::size_t /*size*/) noexcept {}
    /// The BAR answers at another address from now on, or (none) nowhere.
    virtual void bar_moved(unsigned /*index*/, std::optional<std::uint64_t> /*address*/) noexcept {}

private:
    friend class RootComplex;
    struct Bar {
        bus::Device* device = nullptr;
        std::uint64_t size = 0;
        BarWidth width = BarWidth::Bits32;
        std::optional<std::uint64_t> mapped_at;
    };
    void write(std::size_t offset, std::span<const std::byte> in) noexcept;
    /// What the BAR register says, decoded or not.
    [[nodiscard]] std::uint64_t bar_address(unsigned index) const noexcept;
    void set_bar_address(unsigned index, std::uint64_t address) noexcept;
    [[nodiscard]] bool decodes_memory() const noexcept;

    std::array<std::byte, spec::kConfigSize> config_{};
    std::array<std::byte, spec::kConfigSize> writable_{};
    std::array<Bar, spec::kBars> bars_{};
    std::size_t next_capability_ = spec::FIRST_CAPABILITY;
    std::size_t last_link_ = spec::CAPABILITIES;
};

/// Whether an access to [offset, offset + size) touches [start, start + length).
[[nodiscard]] constexpr bool touches(std::size_t offset, std::size_t size, std::size_t start,
                                     std::size_t length) noexcept {
    return offset < start + length && start < offset + size;
}

/// Little-endian fields of configuration space.
template <typename T>
void put_field(std::span<std::byte> space, std::size_t offset, T value) noexcept {
    for (std::size_t i = 0; i < sizeof(T); ++i) space[offset + i] = static_cast<std::byte>(value >> (8 * i));
}
template <typename T>
[[nodiscard]] T get_field(std::span<const std::byte> space, std::size_t offset) noexcept {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        value |= std::to_integer<std::uint64_t>(space[offset + i]) << (8 * i);
    }
    return static_cast<T>(value);
}

}  // namespace holdfast::pci
