// SPDX-License-Identifier: Apache-2.0
// The least that can run the built-in guest: KVM_RUN in a loop, a switch, nothing else. What an exit
// costs here is what the kernel and the CPU take; bench/run shows holdfast-vmm's exits beside it.
//
//   bare-loop "job=exitloop kind=pio count=20000"
#include <algorithm>
#include <cstdio>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "guest_agent/builtin/image.hpp"
#include "vmm/boot/boot.hpp"
#include "vmm/boot/layout.hpp"
#include "vmm/kvm/request.hpp"
#include "vmm/kvm/vcpu.hpp"
#include "vmm/legacy/power.hpp"
#include "vmm/legacy/serial.hpp"

namespace holdfast {
namespace {

using kvm::ioctl_retry;

struct Machine {
    UniqueFd vm;
    UniqueFd vcpu;
    Mapping run;
    memcrypt::GuestMemory memory;
};

Result<Machine> make(std::string_view cmdline) {
    const UniqueFd kvm{::open("/dev/kvm", O_RDWR | O_CLOEXEC)};
    if (!kvm) return os_error("open /dev/kvm");
    auto memory = HF_TRY(memcrypt::GuestMemory::create_plain(boot::ram_ranges(256ULL << 20)));
    UniqueFd vm{HF_TRY(ioctl_retry(kvm, HF_KVM_REQUEST(KVM_CREATE_VM), 0UL))};
    HF_TRY(ioctl_retry(vm, HF_KVM_REQUEST(KVM_SET_TSS_ADDR), 0xfffbd000UL));
    HF_TRY(ioctl_retry(vm, HF_KVM_REQUEST(KVM_CREATE_IRQCHIP), 0UL));
    kvm_userspace_memory_region slot{};
    slot.memory_size = memory.regions()[0].host.size();
    slot.userspace_addr = reinterpret_cast<std::uintptr_t>(memory.regions()[0].host.data());
    HF_TRY(ioctl_retry(vm, HF_KVM_REQUEST(KVM_SET_USER_MEMORY_REGION), &slot));

    const auto image = guest_agent::builtin_image();
    const UniqueFd kernel = HF_TRY(sealed_memfd("guest", image.size()));
    if (::pwrite(kernel.get(), image.data(), image.size(), 0) < 0) return os_error("write guest");
    boot::Loader loader{memory};
    const auto entry = HF_TRY(boot::load(
        loader, {.kernel = kernel, .initrd = {}, .cmdline = cmdline, .elf_entry = boot::ElfEntry::Flat}));

    UniqueFd vcpu{HF_TRY(ioctl_retry(vm, HF_KVM_REQUEST(KVM_CREATE_VCPU), 0UL))};
    const auto size =
        static_cast<std::size_t>(HF_TRY(ioctl_retry(kvm, HF_KVM_REQUEST(KVM_GET_VCPU_MMAP_SIZE), 0UL)));
    auto cpuid = std::make_unique<kvm::CountedList<kvm_cpuid_entry2, 256>>();
    cpuid->header.count = 256;
    HF_TRY(ioctl_retry(kvm, HF_KVM_REQUEST(KVM_GET_SUPPORTED_CPUID), cpuid.get()));
    HF_TRY(ioctl_retry(vcpu, HF_KVM_REQUEST(KVM_SET_CPUID2), cpuid.get()));
    UniqueFd also = HF_TRY(vcpu.duplicate());
    auto state = HF_TRY(kvm::Vcpu::create(std::move(also), size));
    HF_TRY(state.set_boot_msrs());
    HF_TRY(state.set_entry(entry));
    Mapping run = HF_TRY(Mapping::shared(vcpu, size));
    return Machine{std::move(vm), std::move(vcpu), std::move(run), std::move(memory)};
}

/// True when the guest has switched itself off.
bool port_access(kvm_run& run, std::byte* data) {
    if (run.io.direction == KVM_EXIT_IO_IN) {
        std::fill_n(data, run.io.size * run.io.count, std::byte{0x60});  // a serial port that is ready
        return false;
    }
    if (run.io.port == legacy::kSerialPort) {
        [[maybe_unused]] const ssize_t put = ::write(STDOUT_FILENO, data, run.io.count);
    }
    return run.io.port == legacy::kPowerPort + legacy::kSleepControlOffset;
}

int loop(const Machine& machine) {
    kvm_run& run = *reinterpret_cast<kvm_run*>(machine.run.data());
    while (true) {
        if (::ioctl(machine.vcpu.get(), KVM_RUN, 0UL) < 0) return 1;
        switch (run.exit_reason) {
            case KVM_EXIT_IO:
                if (port_access(run, machine.run.data() + run.io.data_offset)) return 0;
                break;
            case KVM_EXIT_MMIO:
                if (run.mmio.is_write == 0) std::ranges::fill(run.mmio.data, std::uint8_t{0xff});
                break;
            default: std::fprintf(stderr, "bare-loop: exit %u\n", run.exit_reason); return 1;
        }
    }
}

}  // namespace
}  // namespace holdfast

int main(int argc, char** argv) {
    const auto machine = holdfast::make(argc > 1 ? argv[1] : "job=exitloop");
    if (!machine) {
        std::fprintf(stderr, "bare-loop: %s\n", machine.error().what);
        return 1;
    }
    return holdfast::loop(*machine);
}
