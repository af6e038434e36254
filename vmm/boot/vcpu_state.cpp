// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/vcpu_state.hpp"

#include <span>

namespace holdfast::boot {
namespace {

using memcrypt::snp::wire::Segment;
using memcrypt::snp::wire::Vmsa;

/// The save area keeps a descriptor's attributes without the limit bits between them.
Segment segment(std::uint64_t descriptor, std::uint16_t selector) {
    constexpr std::uint64_t kGranularity = 1ULL << 55;
    std::uint64_t limit = (descriptor & 0xffff) | (descriptor >> 32 & 0xf0000);
    if ((descriptor & kGranularity) != 0) limit = limit << 12 | 0xfff;
    const std::uint64_t attributes = (descriptor >> 40 & 0xff) | (descriptor >> 44 & 0xf00);
    return {.selector = selector,
            .attributes = static_cast<std::uint16_t>(attributes),
            .limit = static_cast<std::uint32_t>(limit),
            .base = (descriptor >> 16 & 0xffffff) | (descriptor >> 32 & 0xff000000)};
}

void add(memcrypt::LaunchDigest& digest, const Vmsa& state) noexcept {
    digest.add(memcrypt::PageType::Vmsa, memcrypt::kVmsaAddress,
               std::as_bytes(std::span{&state, 1}).first<kPageSize>());
}

}  // namespace

Vmsa boot_cpu_state(const kvm::EntryState& entry) noexcept {
    const kvm::EntryRegisters registers = kvm::entry_registers(entry);
    Vmsa state = memcrypt::snp::reset_state();
    state.cs = segment(registers.gdt[2], kvm::kBootCodeSelector);
    state.ds = state.es = state.fs = state.gs = state.ss = segment(registers.gdt[3], kvm::kBootDataSelector);
    state.tr = segment(registers.gdt[4], kvm::kBootTssSelector);
    state.gdtr.base = registers.gdt_base;
    state.gdtr.limit = registers.gdt_limit;
    state.cr0 = registers.cr0;
    state.cr3 = registers.cr3;
    state.cr4 = registers.cr4;
    state.efer = registers.efer;
    state.rip = registers.rip;
    state.rflags = registers.rflags;
    state.rbx = registers.rbx;
    state.rsi = registers.rsi;
    return state;
}

Vmsa waiting_cpu_state() noexcept {
    constexpr std::uint64_t kResetCr0 = 0x60000010;  // CD, NW, ET
    Vmsa state = memcrypt::snp::reset_state();
    state.cr0 = kResetCr0;
    return state;
}

void measure_vcpus(memcrypt::LaunchDigest& digest, const kvm::EntryState& entry,
                   std::uint32_t cpus) noexcept {
    add(digest, boot_cpu_state(entry));
    const Vmsa waiting = waiting_cpu_state();
    for (std::uint32_t cpu = 1; cpu < cpus; ++cpu) add(digest, waiting);
}

}  // namespace holdfast::boot
