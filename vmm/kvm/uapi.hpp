// SPDX-License-Identifier: Apache-2.0
// The only place that includes the KVM header. Debian 12's copy (6.1) is older than the kernels this
// runs on; what is newer is defined here, with the sizes asserted. Linux Documentation/virt/kvm/api.rst.
#pragma once

#include <cstdint>

#include <linux/kvm.h>

// The kernel's "count, then entries" structures. Its own macro for a flexible array hides an empty
// struct, which C++ gives a byte: kvm_cpuid2 and kvm_msrs come out as 12 bytes and their ioctl numbers,
// which hold the size, come out wrong.
namespace holdfast::kvm {
struct CountHeader {
    std::uint32_t count;
    std::uint32_t padding;
};
static_assert(sizeof(CountHeader) == 8);
}  // namespace holdfast::kvm
#undef KVM_GET_SUPPORTED_CPUID
#undef KVM_SET_CPUID2
#undef KVM_SET_MSRS
#undef KVM_SET_GSI_ROUTING
#define KVM_GET_SUPPORTED_CPUID _IOWR(KVMIO, 0x05, ::holdfast::kvm::CountHeader)
#define KVM_SET_CPUID2 _IOW(KVMIO, 0x90, ::holdfast::kvm::CountHeader)
#define KVM_SET_MSRS _IOW(KVMIO, 0x89, ::holdfast::kvm::CountHeader)
#define KVM_SET_GSI_ROUTING _IOW(KVMIO, 0x6a, ::holdfast::kvm::CountHeader)

#ifndef KVM_CAP_MEMORY_FAULT_INFO
#define KVM_CAP_MEMORY_FAULT_INFO 232
#endif
#ifndef KVM_CAP_VM_TYPES
#define KVM_CAP_VM_TYPES 235
#endif
#ifndef KVM_EXIT_MEMORY_FAULT
#define KVM_EXIT_MEMORY_FAULT 39
#endif

static_assert(sizeof(kvm_regs) == 144 && sizeof(kvm_userspace_memory_region) == 32);
static_assert(sizeof(kvm_irqfd) == 32 && sizeof(kvm_ioeventfd) == 64 && sizeof(kvm_msi) == 32);
