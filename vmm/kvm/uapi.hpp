// SPDX-License-Identifier: Apache-2.0
// The only place that includes the KVM header. Debian 12's copy (6.1) is older than the kernels this
// runs on; what is newer is defined here, with the sizes asserted. Linux Documentation/virt/kvm/api.rst.
#pragma once

#include <linux/kvm.h>

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
