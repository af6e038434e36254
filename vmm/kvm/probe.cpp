// SPDX-License-Identifier: Apache-2.0
#include "vmm/kvm/probe.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>

#include <unistd.h>

#include "memcrypt/guest_memory.hpp"
#include "vmm/kvm/request.hpp"
#include "vmm/kvm/vcpu.hpp"
#include "vmm/kvm/vm.hpp"

namespace holdfast::kvm {
namespace {

using Clock = std::chrono::steady_clock;

constexpr GuestAddr kGdt{0x1000};
constexpr GuestAddr kPml4{0x2000};
constexpr GuestAddr kPdpt{0x3000};
constexpr GuestAddr kDirectory{0x4000};
constexpr GuestAddr kCode{0x5000};
constexpr std::uint64_t kMemory = 2ULL << 20;

// Long enough to stand out from an exit (up to 0.2 ms under emulation), short enough to emulate in 30 ms.
constexpr std::uint32_t kLoops = 20'000;
constexpr unsigned kPatienceSeconds = 10;
constexpr int kMaxInterruptions = 1000;

// Each write to port 0x80 marks a point; nobody is behind the port.
constexpr std::array<std::uint8_t, 38> kProgram{0xe6, 0x80,                    // out 0x80, al
                                                0xb9, 0x20, 0x4e, 0x00, 0x00,  // mov ecx, 20000
                                                0xff, 0xc9,                    // dec ecx
                                                0x75, 0xfc,                    // jnz back to dec
                                                0xe6, 0x80,                    // out 0x80, al
                                                0xbf, 0x00, 0x60, 0x00, 0x00,  // mov edi, 0x6000
                                                0x31, 0xc0, 0x31, 0xd2,        // xor eax, eax; xor edx, edx
                                                0x31, 0xdb, 0x31, 0xc9,        // xor ebx, ebx; xor ecx, ecx
                                                0xf0, 0x48, 0x0f, 0xc7, 0x0f,  // lock cmpxchg16b [rdi]
                                                0xe6, 0x80,                    // out 0x80, al
                                                0xf4, 0xeb, 0xfd,              // hlt; jmp back to it
                                                0x90, 0x90};
static_assert(kLoops == 0x4e20);

// Gives up on a KVM_RUN that does not come back: the signal alone ends it with EINTR.
class Patience {
public:
    Patience() {
        struct sigaction action{};
        action.sa_handler = [](int) {};
        ::sigaction(SIGALRM, &action, &before_);
        ::alarm(kPatienceSeconds);
    }
    Patience(const Patience&) = delete;
    Patience& operator=(const Patience&) = delete;
    ~Patience() {
        ::alarm(0);
        ::sigaction(SIGALRM, &before_, nullptr);
    }

private:
    struct sigaction before_{};
};

Result<void> load(const memcrypt::GuestMemory& memory) {
    constexpr std::uint64_t kPresentWritable = 3;
    constexpr std::uint64_t kLargePage = 1ULL << 7;
    HF_TRY(memory.write_value(kGdt, boot_gdt(EntryState::Mode::Long64)));
    HF_TRY(memory.write_value(kPml4, kPdpt.value() | kPresentWritable));
    HF_TRY(memory.write_value(kPdpt, kDirectory.value() | kPresentWritable));
    HF_TRY(memory.write_value(kDirectory, kPresentWritable | kLargePage));
    return memory.write_value(kCode, kProgram);
}

// True at the next mark; false where the guest cannot go on.
Result<bool> run_to_mark(Vcpu& vcpu, Clock::time_point deadline) {
    for (int i = 0; i < kMaxInterruptions; ++i) {
        const Exit exit = vcpu.run();
        if (exit.kind == ExitKind::PortWrite) return true;
        if (exit.kind != ExitKind::Interrupted) return false;
        if (Clock::now() > deadline) break;
    }
    return Error{Fault::Os, 0, "the probe guest did not come back from KVM_RUN"};
}

}  // namespace

Result<Probe> probe(const UniqueFd& kvm) {
    const Patience patience;
    const auto deadline = Clock::now() + std::chrono::seconds{kPatienceSeconds};
    const memcrypt::GuestMemory::Range range{.start = GuestAddr{0}, .size = kMemory};
    const auto memory = HF_TRY(memcrypt::GuestMemory::create_plain({&range, 1}));
    HF_TRY(load(memory));
    const auto vm = HF_TRY(Vm::create(kvm));
    HF_TRY(vm->map_memory(memory));
    Vcpu vcpu = HF_TRY(vm->create_vcpu(0, 1));

    Probe found;
    // The first round also pays for page faults and for a CPU that slept; and somebody else may have
    // taken it. The best of three is what the CPU can do.
    for (int round = 0; round < 3; ++round) {
        HF_TRY(vcpu.set_entry(
            {.instruction = kCode, .argument = GuestAddr{0}, .gdt = kGdt, .page_table = kPml4}));
        if (!HF_TRY(run_to_mark(vcpu, deadline))) return found;
        const auto start = Clock::now();
        if (!HF_TRY(run_to_mark(vcpu, deadline))) return found;
        const auto took = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
        const auto ns = static_cast<std::uint64_t>(std::max<std::int64_t>(took, 1));
        found.loops_per_second =
            std::max<std::uint64_t>(found.loops_per_second, kLoops * 1'000'000'000ULL / ns);
    }
    found.cmpxchg16b = HF_TRY(run_to_mark(vcpu, deadline));
    return found;
}

VmTypes vm_types(const UniqueFd& kvm) noexcept {
    // Numbers of the VM types: Linux 6.11 arch/x86/include/uapi/asm/kvm.h, KVM_X86_*_VM.
    constexpr int kSnpType = 4;
    constexpr int kTdxType = 5;
    const auto types =
        ioctl_retry(kvm, HF_KVM_REQUEST(KVM_CHECK_EXTENSION), static_cast<unsigned long>(KVM_CAP_VM_TYPES));
    if (!types) return {};
    return {.sev_snp = (*types & 1 << kSnpType) != 0, .tdx = (*types & 1 << kTdxType) != 0};
}

}  // namespace holdfast::kvm
