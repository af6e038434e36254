// SPDX-License-Identifier: Apache-2.0
// Values come from the kernel's headers, except two blocks at the end: what is newer than those of
// Debian 12, and requests whose number C++ computes wrongly (the kernel's macro for a flexible array
// hides an empty struct, which has a size in C++; a request's number holds the size of its argument).
// The only place outside vmm/kvm that includes the KVM header: it runs at build time, for numbers.
#include "sys/sandbox/compiler/symbols.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>
#include <linux/vfio.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace holdfast::sandbox::compiler {
namespace {

struct Symbol {
    std::string_view name;
    std::uint64_t value;
};

#define HF_SYMBOL(name) \
    Symbol { #name, static_cast<std::uint64_t>(name) }
constexpr std::array kSymbols{
    // errno
    HF_SYMBOL(ENOSYS), HF_SYMBOL(EPERM), HF_SYMBOL(ENOENT), HF_SYMBOL(EACCES), HF_SYMBOL(EINVAL),
    // memory
    HF_SYMBOL(PROT_READ), HF_SYMBOL(PROT_WRITE), HF_SYMBOL(PROT_EXEC), HF_SYMBOL(PROT_NONE),
    HF_SYMBOL(MAP_SHARED), HF_SYMBOL(MAP_PRIVATE), HF_SYMBOL(MAP_ANONYMOUS), HF_SYMBOL(MAP_FIXED),
    HF_SYMBOL(MAP_NORESERVE), HF_SYMBOL(MAP_STACK), HF_SYMBOL(MADV_DONTNEED), HF_SYMBOL(MADV_FREE),
    HF_SYMBOL(MADV_REMOVE), HF_SYMBOL(MADV_HUGEPAGE), HF_SYMBOL(MADV_NOHUGEPAGE), HF_SYMBOL(MADV_DONTFORK),
    HF_SYMBOL(MADV_DONTDUMP), HF_SYMBOL(MADV_WIPEONFORK), HF_SYMBOL(MADV_POPULATE_WRITE),
    HF_SYMBOL(MLOCK_ONFAULT),
    // descriptors and files
    HF_SYMBOL(F_DUPFD_CLOEXEC), HF_SYMBOL(F_GETFD), HF_SYMBOL(F_SETFD), HF_SYMBOL(F_GETFL),
    HF_SYMBOL(F_SETFL), HF_SYMBOL(F_OFD_SETLK), HF_SYMBOL(F_ADD_SEALS), HF_SYMBOL(AT_EMPTY_PATH),
    HF_SYMBOL(F_GET_SEALS), HF_SYMBOL(FALLOC_FL_KEEP_SIZE), HF_SYMBOL(FALLOC_FL_PUNCH_HOLE),
    HF_SYMBOL(FALLOC_FL_ZERO_RANGE), HF_SYMBOL(FIONREAD), HF_SYMBOL(FIONBIO), HF_SYMBOL(MFD_CLOEXEC),
    HF_SYMBOL(MFD_ALLOW_SEALING),
    // threads and signals
    HF_SYMBOL(CLONE_VM), HF_SYMBOL(CLONE_FS), HF_SYMBOL(CLONE_FILES), HF_SYMBOL(CLONE_SIGHAND),
    HF_SYMBOL(CLONE_THREAD), HF_SYMBOL(CLONE_SYSVSEM), HF_SYMBOL(CLONE_SETTLS),
    HF_SYMBOL(CLONE_PARENT_SETTID), HF_SYMBOL(CLONE_CHILD_CLEARTID), HF_SYMBOL(PR_SET_NAME),
    HF_SYMBOL(SIGABRT), HF_SYMBOL(SIGUSR1), HF_SYMBOL(SIGUSR2),
    Symbol{"SIGRTMIN", 34},   // glibc keeps the first two real-time signals
    Symbol{"SIGSETXID", 33},  // its second one, installed by the first pthread_create
    // KVM
    HF_SYMBOL(KVM_GET_API_VERSION), HF_SYMBOL(KVM_CREATE_VM), HF_SYMBOL(KVM_CHECK_EXTENSION),
    HF_SYMBOL(KVM_GET_VCPU_MMAP_SIZE), HF_SYMBOL(KVM_ENABLE_CAP), HF_SYMBOL(KVM_CREATE_VCPU),
    HF_SYMBOL(KVM_CREATE_IRQCHIP), HF_SYMBOL(KVM_CREATE_PIT2), HF_SYMBOL(KVM_SET_TSS_ADDR),
    HF_SYMBOL(KVM_SET_IDENTITY_MAP_ADDR), HF_SYMBOL(KVM_SET_BOOT_CPU_ID),
    HF_SYMBOL(KVM_SET_USER_MEMORY_REGION), HF_SYMBOL(KVM_GET_DIRTY_LOG), HF_SYMBOL(KVM_CLEAR_DIRTY_LOG),
    HF_SYMBOL(KVM_IRQFD), HF_SYMBOL(KVM_IOEVENTFD), HF_SYMBOL(KVM_IRQ_LINE), HF_SYMBOL(KVM_SIGNAL_MSI),
    HF_SYMBOL(KVM_INTERRUPT), HF_SYMBOL(KVM_NMI), HF_SYMBOL(KVM_GET_IRQCHIP), HF_SYMBOL(KVM_SET_IRQCHIP),
    HF_SYMBOL(KVM_GET_CLOCK), HF_SYMBOL(KVM_SET_CLOCK), HF_SYMBOL(KVM_KVMCLOCK_CTRL), HF_SYMBOL(KVM_RUN),
    HF_SYMBOL(KVM_GET_REGS), HF_SYMBOL(KVM_SET_REGS), HF_SYMBOL(KVM_GET_SREGS), HF_SYMBOL(KVM_SET_SREGS),
    HF_SYMBOL(KVM_GET_FPU), HF_SYMBOL(KVM_SET_FPU), HF_SYMBOL(KVM_GET_LAPIC), HF_SYMBOL(KVM_SET_LAPIC),
    HF_SYMBOL(KVM_GET_MP_STATE), HF_SYMBOL(KVM_SET_MP_STATE), HF_SYMBOL(KVM_GET_VCPU_EVENTS),
    HF_SYMBOL(KVM_SET_VCPU_EVENTS), HF_SYMBOL(KVM_GET_XCRS), HF_SYMBOL(KVM_SET_XCRS),
    HF_SYMBOL(KVM_GET_TSC_KHZ), HF_SYMBOL(KVM_SET_TSC_KHZ), HF_SYMBOL(KVM_TRANSLATE),
    HF_SYMBOL(KVM_MEMORY_ENCRYPT_OP), HF_SYMBOL(KVM_MEMORY_ENCRYPT_REG_REGION),
    HF_SYMBOL(KVM_MEMORY_ENCRYPT_UNREG_REGION), HF_SYMBOL(KVM_CREATE_DEVICE), HF_SYMBOL(KVM_SET_DEVICE_ATTR),
    HF_SYMBOL(KVM_SMI),
    // userfaultfd
    HF_SYMBOL(UFFDIO_REGISTER), HF_SYMBOL(UFFDIO_UNREGISTER), HF_SYMBOL(UFFDIO_WAKE), HF_SYMBOL(UFFDIO_COPY),
    HF_SYMBOL(UFFDIO_ZEROPAGE), HF_SYMBOL(UFFDIO_WRITEPROTECT), HF_SYMBOL(UFFDIO_CONTINUE),
    HF_SYMBOL(UFFDIO_API), HF_SYMBOL(USERFAULTFD_IOC_NEW),
    // VFIO
    HF_SYMBOL(VFIO_DEVICE_GET_INFO), HF_SYMBOL(VFIO_DEVICE_GET_REGION_INFO),
    HF_SYMBOL(VFIO_DEVICE_GET_IRQ_INFO), HF_SYMBOL(VFIO_DEVICE_SET_IRQS), HF_SYMBOL(VFIO_DEVICE_RESET),
    HF_SYMBOL(VFIO_IOMMU_GET_INFO), HF_SYMBOL(VFIO_IOMMU_MAP_DMA), HF_SYMBOL(VFIO_IOMMU_UNMAP_DMA),
    // what the C header says
    Symbol{"KVM_GET_SUPPORTED_CPUID", 0xc008ae05}, Symbol{"KVM_GET_MSR_INDEX_LIST", 0xc004ae02},
    Symbol{"KVM_GET_MSR_FEATURE_INDEX_LIST", 0xc004ae0a}, Symbol{"KVM_SET_GSI_ROUTING", 0x4008ae6a},
    Symbol{"KVM_GET_MSRS", 0xc008ae88}, Symbol{"KVM_SET_MSRS", 0x4008ae89},
    Symbol{"KVM_GET_CPUID2", 0xc008ae91}, Symbol{"KVM_SET_CPUID2", 0x4008ae90},
    Symbol{"KVM_GET_XSAVE", 0x9000aea4}, Symbol{"KVM_SET_XSAVE", 0x5000aea5},
    Symbol{"KVM_SET_SIGNAL_MASK", 0x4004ae8b},
    // newer than Linux 6.1
    Symbol{"KVM_SET_USER_MEMORY_REGION2", 0x40a0ae49},  // Linux 6.8: _IOW(KVMIO, 0x49, 160 bytes)
    Symbol{"KVM_SET_MEMORY_ATTRIBUTES", 0x4020aed2},    // Linux 6.8: _IOW(KVMIO, 0xd2, 32 bytes)
    Symbol{"KVM_CREATE_GUEST_MEMFD", 0xc040aed4},       // Linux 6.8: _IOWR(KVMIO, 0xd4, 64 bytes)
    Symbol{"UFFDIO_POISON", 0xc020aa08},                // Linux 6.6: _IOWR(UFFDIO, 0x08, 32 bytes)
};
#undef HF_SYMBOL

}  // namespace

std::optional<std::uint64_t> symbol(std::string_view name) {
    const auto* const found = std::ranges::find(kSymbols, name, &Symbol::name);
    if (found == kSymbols.end()) return std::nullopt;
    return found->value;
}

}  // namespace holdfast::sandbox::compiler
