// SPDX-License-Identifier: Apache-2.0
// Intel SDM vol. 2A CPUID; AMD APM vol. 3 appendix E; Linux Documentation/virt/kvm/x86/cpuid.rst.
#include "vmm/kvm/cpuid.hpp"

#include <bit>

namespace holdfast::kvm {
namespace {

constexpr std::uint32_t bit(unsigned index) { return 1U << index; }

constexpr void replace(std::uint32_t& word, unsigned low, unsigned width, std::uint32_t value) {
    const std::uint32_t mask = ((1U << width) - 1) << low;
    word = (word & ~mask) | (value << low & mask);
}

/// Bits of an APIC id that tell cores of the one socket apart.
unsigned core_bits(std::uint32_t cpus) { return static_cast<unsigned>(std::bit_width(cpus - 1)); }

void leaf_1(kvm_cpuid_entry2& e, const CpuShape& shape) {
    replace(e.ebx, 24, 8, shape.apic_id);
    replace(e.ebx, 16, 8, shape.cpus);
    // MONITOR needs exits disabled to be of use; VMX would be nesting; PDCM belongs to the PMU.
    e.ecx &= ~(bit(3) | bit(5) | bit(15));
    e.ecx |= bit(31);                               // running under a hypervisor
    if (shape.tsc_deadline) e.ecx |= bit(24);       // KVM reports it as a capability, not here
    e.edx |= bit(12);                               // MTRR
    replace(e.edx, 28, 1, shape.cpus > 1 ? 1 : 0);  // HTT: more than one logical processor
}

void cache_leaf(kvm_cpuid_entry2& e, std::uint32_t cpus) {
    const std::uint32_t level = e.eax >> 5 & 7;
    if ((e.eax & 0x1f) == 0) return;
    replace(e.eax, 14, 12, level >= 3 ? cpus - 1 : 0);     // who shares this cache
    if (e.function == 4) replace(e.eax, 26, 6, cpus - 1);  // cores in the package
}

void topology_leaf(kvm_cpuid_entry2& e, const CpuShape& shape) {
    constexpr std::uint32_t kSmt = 1;
    constexpr std::uint32_t kCore = 2;
    e.edx = shape.apic_id;  // in every sub-leaf, or APs look like one another
    switch (e.index) {
        case 0:
            e.eax = 0;
            e.ebx = 1;
            e.ecx = kSmt << 8;
            break;
        case 1:
            e.eax = core_bits(shape.cpus);
            e.ebx = shape.cpus;
            e.ecx = kCore << 8 | 1;
            break;
        default:
            e.eax = 0;
            e.ebx = 0;
            e.ecx = e.index;
            break;
    }
}

}  // namespace

void shape_cpuid(std::span<kvm_cpuid_entry2> entries, const CpuShape& shape) noexcept {
    const bool amd = !entries.empty() && entries[0].function == 0 && entries[0].ebx == 0x68747541;  // "Auth"
    for (kvm_cpuid_entry2& e : entries) {
        switch (e.function) {
            case 0x1: leaf_1(e, shape); break;
            case 0x4:
            case 0x8000001d: cache_leaf(e, shape.cpus); break;
            case 0x5: e.eax = e.ebx = e.ecx = e.edx = 0; break;  // MONITOR/MWAIT
            case 0x6:
                e.eax &= ~(bit(1) | bit(3));
                e.ecx = 0;
                break;  // turbo, hardware P-states' bias
            case 0x7:
                if (e.index == 0) {
                    e.ecx &= ~bit(5);            // WAITPKG
                    if (amd) e.edx &= ~bit(29);  // ARCH_CAPABILITIES is Intel's
                }
                break;
            case 0xa: e.eax = e.ebx = e.ecx = e.edx = 0; break;  // no PMU
            case 0xb:
            case 0x1f: topology_leaf(e, shape); break;
            case 0x40000000: e.eax = 0x40000010; break;
            // No asynchronous page faults: a fault that our pager answers in microseconds must not
            // turn into a halt and a wake-up (research/memcrypt.md §2.3).
            case 0x40000001: e.eax &= ~(bit(4) | bit(10) | bit(14)); break;
            case 0x40000010:  // the TSC and APIC timer frequency convention that guests read
                e.eax = shape.tsc_khz;
                e.ebx = 1'000'000;
                e.ecx = e.edx = 0;
                break;
            case 0x80000001: e.ecx &= ~bit(2); break;  // SVM
            case 0x80000008:
                replace(e.ecx, 0, 8, shape.cpus - 1);
                replace(e.ecx, 12, 4, core_bits(shape.cpus));
                break;
            case 0x8000000a: e.eax = e.ebx = e.ecx = e.edx = 0; break;  // SVM features
            case 0x8000001e:
                e.eax = shape.apic_id;
                e.ebx = shape.apic_id;
                e.ecx = 0;
                break;
            default: break;
        }
    }
}

}  // namespace holdfast::kvm
