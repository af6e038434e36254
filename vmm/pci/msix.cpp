// SPDX-License-Identifier: Apache-2.0
#include "vmm/pci/msix.hpp"

#include <algorithm>

#include "sys/log.hpp"
#include "vmm/pci/function.hpp"
#include "vmm/pci/spec.hpp"

namespace holdfast::pci {

namespace {
constexpr std::size_t kEntryWords = spec::MSIX_ENTRY_SIZE / 4;
constexpr std::size_t kControlWord = 3;
}  // namespace

Result<std::unique_ptr<Msix>> Msix::create(irq::MsiSource& source, std::uint16_t vectors) {
    check(vectors >= 1 && vectors <= kMaxVectors, "MSI-X vectors");
    std::vector<std::unique_ptr<irq::MsiVector>> made;
    for (std::uint16_t i = 0; i < vectors; ++i) made.push_back(HF_TRY(source.allocate()));
    return std::unique_ptr<Msix>{new Msix{std::move(made)}};
}

Result<std::unique_ptr<Msix>> Msix::create(irq::MsiSource& source, std::span<const EventFd> events) {
    check(!events.empty() && events.size() <= kMaxVectors, "MSI-X vectors");
    std::vector<std::unique_ptr<irq::MsiVector>> made;
    for (const EventFd& event : events) made.push_back(HF_TRY(source.allocate(event)));
    return std::unique_ptr<Msix>{new Msix{std::move(made)}};
}

Msix::Msix(std::vector<std::unique_ptr<irq::MsiVector>> vectors) : entries_(vectors.size()) {
    for (std::size_t i = 0; i < vectors.size(); ++i) entries_[i].vector = std::move(vectors[i]);
}

Msix::Capability Msix::capability(unsigned bar) const noexcept {
    Capability bytes{};
    put_field<std::uint8_t>(bytes, 0, spec::CAP_MSIX);
    put_field(bytes, spec::MSIX_CONTROL, static_cast<std::uint16_t>(entries_.size() - 1));
    put_field(bytes, 4, static_cast<std::uint32_t>(bar));
    put_field(bytes, 8, static_cast<std::uint32_t>(kPendingOffset | bar));
    return bytes;
}

Msix::Capability Msix::writable() noexcept {
    Capability mask{};
    put_field<std::uint16_t>(mask, spec::MSIX_CONTROL, spec::MSIX_ENABLE | spec::MSIX_FUNCTION_MASK);
    return mask;
}

void Msix::settle(std::size_t index) noexcept {
    Entry& entry = entries_[index];
    std::optional<irq::MsiMessage> wanted;
    {
        const Lock hold{state_};
        if (enabled_ && !function_masked_ && !entry.masked) wanted = entry.message;
    }
    if (wanted == entry.routed) return;
    const auto routed = entry.vector->route(wanted);
    if (!routed) log::warn("msix.route", routed.error(), {{"vector", index}});
    entry.routed = wanted;
}

void Msix::set_control(std::uint16_t control) noexcept {
    const Lock routing{routes_};
    {
        const Lock hold{state_};
        const bool enabled = (control & spec::MSIX_ENABLE) != 0;
        // What came while MSI-X was off is no interrupt.
        if (enabled && !enabled_) {
            for (const Entry& entry : entries_) entry.vector->forget();
        }
        enabled_ = enabled;
        function_masked_ = (control & spec::MSIX_FUNCTION_MASK) != 0;
    }
    for (std::size_t i = 0; i < entries_.size(); ++i) settle(i);
}

void Msix::trigger(std::uint16_t vector) noexcept {
    if (vector >= entries_.size()) return;
    const Lock hold{state_};
    if (enabled_) entries_[vector].vector->trigger();
}

std::uint64_t Msix::pending() const noexcept {
    std::uint64_t bits = 0;
    for (std::size_t i = 0; enabled_ && i < entries_.size(); ++i) {
        if (entries_[i].vector->is_pending()) bits |= 1ULL << i;
    }
    return bits;
}

void Msix::read(std::uint64_t offset, std::span<std::byte> out) noexcept {
    std::ranges::fill(out, std::byte{0});
    // §6.8.2: aligned accesses of 4 or 8 bytes; everything else is undefined and reads zero here.
    if ((out.size() != 4 && out.size() != 8) || offset % out.size() != 0) return;
    const Lock hold{state_};
    for (std::size_t done = 0; done < out.size(); done += 4) {
        const std::uint64_t at = offset + done;
        std::uint32_t word = 0;
        if (at >= kPendingOffset) {
            const std::uint64_t shift = 8 * (at - kPendingOffset);
            word = shift < 64 ? static_cast<std::uint32_t>(pending() >> shift) : 0;
        } else if (const std::uint64_t index = at / spec::MSIX_ENTRY_SIZE; index < entries_.size()) {
            const Entry& entry = entries_[index];
            switch (at / 4 % kEntryWords) {
                case 0: word = static_cast<std::uint32_t>(entry.message.address); break;
                case 1: word = static_cast<std::uint32_t>(entry.message.address >> 32); break;
                case 2: word = entry.message.data; break;
                case kControlWord: word = entry.masked ? spec::MSIX_VECTOR_MASK : 0; break;
            }
        }
        put_field(out, done, word);
    }
}

void Msix::write(std::uint64_t offset, std::span<const std::byte> in) noexcept {
    if ((in.size() != 4 && in.size() != 8) || offset % in.size() != 0) return;
    const std::uint64_t index = offset / spec::MSIX_ENTRY_SIZE;
    if (offset >= kPendingOffset || index >= entries_.size()) return;
    const Lock routing{routes_};
    {
        const Lock hold{state_};
        Entry& entry = entries_[index];
        for (std::size_t done = 0; done < in.size(); done += 4) {
            const std::uint64_t word = get_field<std::uint32_t>(in, done);
            switch ((offset + done) / 4 % kEntryWords) {
                case 0:
                    entry.message.address = (entry.message.address & ~0xffffffffULL) | (word & ~3ULL);
                    break;
                case 1: entry.message.address = (entry.message.address & 0xffffffffULL) | word << 32; break;
                case 2: entry.message.data = static_cast<std::uint32_t>(word); break;
                case kControlWord: entry.masked = (word & spec::MSIX_VECTOR_MASK) != 0; break;
            }
        }
    }
    settle(index);
}

}  // namespace holdfast::pci
