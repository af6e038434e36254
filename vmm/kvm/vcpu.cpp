// SPDX-License-Identifier: Apache-2.0
// Sources: Intel SDM vol. 3 §9 (processor state), Linux Documentation/arch/x86/boot.rst, Xen PVH ABI.
#include "vmm/kvm/vcpu.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>

#include "vmm/kvm/request.hpp"

namespace holdfast::kvm {
namespace {

namespace msr {
constexpr std::uint32_t IA32_SYSENTER_CS = 0x174;
constexpr std::uint32_t IA32_SYSENTER_ESP = 0x175;
constexpr std::uint32_t IA32_SYSENTER_EIP = 0x176;
constexpr std::uint32_t IA32_MISC_ENABLE = 0x1a0;
constexpr std::uint32_t IA32_MTRR_DEF_TYPE = 0x2ff;
constexpr std::uint32_t STAR = 0xc0000081;
constexpr std::uint32_t LSTAR = 0xc0000082;
constexpr std::uint32_t CSTAR = 0xc0000083;
constexpr std::uint32_t SYSCALL_MASK = 0xc0000084;
constexpr std::uint32_t KERNEL_GS_BASE = 0xc0000102;
constexpr std::uint32_t IA32_TSC = 0x10;
}  // namespace msr

/// The hidden part of a segment register, as loading the descriptor would have filled it.
kvm_segment segment(std::uint64_t descriptor, std::uint16_t selector) {
    kvm_segment out{};
    out.selector = selector;
    out.limit = static_cast<std::uint32_t>((descriptor & 0xffff) | ((descriptor >> 32) & 0xf0000));
    out.g = (descriptor >> 55) & 1;
    if (out.g != 0) out.limit = out.limit << 12 | 0xfff;
    out.base = (descriptor >> 16 & 0xffffff) | (descriptor >> 32 & 0xff000000);
    out.type = (descriptor >> 40) & 0xf;
    out.s = (descriptor >> 44) & 1;
    out.dpl = (descriptor >> 45) & 3;
    out.present = (descriptor >> 47) & 1;
    out.l = (descriptor >> 53) & 1;
    out.db = (descriptor >> 54) & 1;
    return out;
}

Exit unsupported(std::string_view reason, std::uint64_t detail) {
    return {.kind = ExitKind::Unsupported, .data = {}, .reason = reason, .detail = detail};
}

}  // namespace

Result<Vcpu> Vcpu::create(UniqueFd fd, std::size_t run_size) {
    Mapping run = HF_TRY(Mapping::shared(fd, run_size));
    return Vcpu{std::move(fd), std::move(run)};
}

kvm_run& Vcpu::state() const noexcept {
    // SAFETY: the kernel defines the mapping's start to be a kvm_run, page aligned.
    return *reinterpret_cast<kvm_run*>(run_.data());
}

Result<void> Vcpu::set_entry(const EntryState& entry) {
    const EntryRegisters wanted = entry_registers(entry);
    kvm_sregs sregs{};
    HF_TRY(ioctl_retry(fd_, HF_KVM_REQUEST(KVM_GET_SREGS), &sregs));
    sregs.cs = segment(wanted.gdt[2], kBootCodeSelector);
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = segment(wanted.gdt[3], kBootDataSelector);
    sregs.tr = segment(wanted.gdt[4], kBootTssSelector);
    sregs.gdt = {.base = wanted.gdt_base, .limit = wanted.gdt_limit, .padding = {}};
    sregs.cr0 = wanted.cr0;
    sregs.cr3 = wanted.cr3;
    sregs.cr4 = wanted.cr4;
    sregs.efer = wanted.efer;
    HF_TRY(ioctl_retry(fd_, HF_KVM_REQUEST(KVM_SET_SREGS), &sregs));

    kvm_regs regs{};
    regs.rip = wanted.rip;
    regs.rflags = wanted.rflags;
    regs.rbx = wanted.rbx;
    regs.rsi = wanted.rsi;
    HF_TRY(ioctl_retry(fd_, HF_KVM_REQUEST(KVM_SET_REGS), &regs));
    return {};
}

Result<void> Vcpu::set_boot_msrs() {
    constexpr std::uint64_t kFastStrings = 1;
    constexpr std::uint64_t kMtrrEnableWriteBack = 1ULL << 11 | 6;
    constexpr std::array<kvm_msr_entry, 11> kEntries{{
        {msr::IA32_SYSENTER_CS, 0, 0},
        {msr::IA32_SYSENTER_ESP, 0, 0},
        {msr::IA32_SYSENTER_EIP, 0, 0},
        {msr::STAR, 0, 0},
        {msr::LSTAR, 0, 0},
        {msr::CSTAR, 0, 0},
        {msr::SYSCALL_MASK, 0, 0},
        {msr::KERNEL_GS_BASE, 0, 0},
        {msr::IA32_TSC, 0, 0},
        {msr::IA32_MISC_ENABLE, 0, kFastStrings},
        {msr::IA32_MTRR_DEF_TYPE, 0, kMtrrEnableWriteBack},
    }};
    CountedList<kvm_msr_entry, kEntries.size()> list;
    list.header.count = kEntries.size();
    std::ranges::copy(kEntries, list.entries.begin());
    const int done = HF_TRY(ioctl_retry(fd_, HF_KVM_REQUEST(KVM_SET_MSRS), &list));
    // The call succeeds with a count; a short one means that an MSR was refused.
    if (static_cast<std::size_t>(done) != kEntries.size())
        return Error{Fault::Os, 0, "KVM_SET_MSRS set only some"};
    return {};
}

Exit Vcpu::run() noexcept {
    if (::ioctl(fd_.get(), KVM_RUN, 0UL) < 0) {
        // A memory fault is the one exit that comes with an errno (api.rst, KVM_EXIT_MEMORY_FAULT).
        if ((errno == EFAULT || errno == EHWPOISON) && state().exit_reason == KVM_EXIT_MEMORY_FAULT) {
            return unsupported("KVM could not reach guest memory", state().exit_reason);
        }
        if (errno == EINTR || errno == EAGAIN) return {};
        return unsupported("KVM_RUN failed", static_cast<std::uint64_t>(errno));
    }
    return decode();
}

Exit Vcpu::decode() noexcept {
    kvm_run& run = state();
    switch (run.exit_reason) {
        case KVM_EXIT_IO: {
            // The kernel's own numbers; the page of data lies inside the mapping.
            const std::size_t size = std::size_t{run.io.size} * run.io.count;
            if (run.io.data_offset > run_.size() || size > run_.size() - run.io.data_offset) {
                return unsupported("port exit data outside the run structure", size);
            }
            return {.kind = run.io.direction == KVM_EXIT_IO_IN ? ExitKind::PortRead : ExitKind::PortWrite,
                    .address = run.io.port,
                    .data = run_.bytes().subspan(run.io.data_offset, size),
                    .width = run.io.size};
        }
        case KVM_EXIT_MMIO: {
            const std::size_t size = std::min<std::size_t>(run.mmio.len, sizeof run.mmio.data);
            return {.kind = run.mmio.is_write != 0 ? ExitKind::MmioWrite : ExitKind::MmioRead,
                    .address = run.mmio.phys_addr,
                    .data = std::as_writable_bytes(std::span{run.mmio.data}).first(size),
                    .width = static_cast<std::uint8_t>(size)};
        }
        case KVM_EXIT_INTR: return {};
        case KVM_EXIT_SHUTDOWN: return {.kind = ExitKind::Shutdown, .data = {}};
        case KVM_EXIT_INTERNAL_ERROR:
            return unsupported("KVM cannot emulate an instruction of the guest", run.internal.suberror);
        case KVM_EXIT_FAIL_ENTRY:
            return unsupported("the CPU refused the guest's state",
                               run.fail_entry.hardware_entry_failure_reason);
        default: return unsupported("exit of an unknown kind", run.exit_reason);
    }
}

void Vcpu::stop_soon() noexcept {
    // SAFETY: a byte in a page shared with the kernel; the handler runs on the thread that enters.
    static_cast<volatile kvm_run&>(state()).immediate_exit = 1;
}

void Vcpu::clear_stop() noexcept {
    static_cast<volatile kvm_run&>(state()).immediate_exit = 0;  // SAFETY: as above
    // The signal handler must not be overtaken: what is wanted is read after the flag is down.
    std::atomic_signal_fence(std::memory_order_seq_cst);
}

void Vcpu::note_pause() const noexcept {
    // EINVAL: the guest does not use kvmclock, which is no error.
    [[maybe_unused]] const int rc = ::ioctl(fd_.get(), KVM_KVMCLOCK_CTRL, 0UL);
}

std::uint64_t Vcpu::instruction_pointer() const noexcept {
    kvm_regs regs{};
    const auto got = ioctl_retry(fd_, HF_KVM_REQUEST(KVM_GET_REGS), &regs);
    return got ? regs.rip : 0;
}

}  // namespace holdfast::kvm
