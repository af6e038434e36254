// SPDX-License-Identifier: Apache-2.0
#include "vmm/kvm/vm.hpp"

#include <algorithm>
#include <array>

#include "sys/log.hpp"
#include "vmm/kvm/cpuid.hpp"
#include "vmm/kvm/request.hpp"

namespace holdfast::kvm {
namespace {

// Three pages KVM wants on Intel for real mode, and one for its identity map; below the 4 GiB end, in
// nobody's window.
constexpr unsigned long kTssAddress = 0xfffbd000;
constexpr std::uint64_t kIdentityMapAddress = 0xfffbc000;

constexpr std::size_t kMaxCpuidEntries = 256;

// Memory slots: RAM from 0 on, of which there are two at most; the one page of a device behind them.
constexpr std::uint32_t kDevicePageSlot = 8;

struct Needed {
    unsigned long capability;
    const char* missing;
};
constexpr std::array<Needed, 7> kNeeded{{
    {KVM_CAP_IRQCHIP, "KVM lacks the in-kernel interrupt controller"},
    {KVM_CAP_USER_MEMORY, "KVM lacks user memory regions"},
    {KVM_CAP_IRQFD, "KVM lacks irqfd"},
    {KVM_CAP_IOEVENTFD_ANY_LENGTH, "KVM lacks ioeventfd of any length"},
    {KVM_CAP_SIGNAL_MSI, "KVM lacks KVM_SIGNAL_MSI"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM lacks immediate exit"},
    {KVM_CAP_EXT_CPUID, "KVM lacks KVM_GET_SUPPORTED_CPUID"},
}};

bool has(const UniqueFd& fd, unsigned long capability) {
    const auto answer = ioctl_retry(fd, HF_KVM_REQUEST(KVM_CHECK_EXTENSION), capability);
    return answer && *answer > 0;
}

using CpuidList = CountedList<kvm_cpuid_entry2, kMaxCpuidEntries>;

Result<std::vector<kvm_cpuid_entry2>> supported_cpuid(const UniqueFd& kvm) {
    auto list = std::make_unique<CpuidList>();
    list->header.count = kMaxCpuidEntries;
    HF_TRY(ioctl_retry(kvm, HF_KVM_REQUEST(KVM_GET_SUPPORTED_CPUID), list.get()));
    const auto filled =
        std::span{list->entries}.first(std::min<std::size_t>(list->header.count, kMaxCpuidEntries));
    std::vector<kvm_cpuid_entry2> entries{filled.begin(), filled.end()};
    // KVM lists hypervisor leaves up to 0x40000001; ours for the TSC frequency comes on top.
    entries.push_back({.function = 0x40000010});
    return entries;
}

}  // namespace

Result<std::unique_ptr<Vm>> Vm::create(const UniqueFd& kvm) {
    const int version = HF_TRY(ioctl_retry(kvm, HF_KVM_REQUEST(KVM_GET_API_VERSION), 0UL));
    if (version != KVM_API_VERSION) return Error{Fault::Os, 0, "KVM API version is not 12"};
    for (const Needed& needed : kNeeded) {
        if (!has(kvm, needed.capability)) return Error{Fault::Os, 0, needed.missing};
    }
    const int run_size = HF_TRY(ioctl_retry(kvm, HF_KVM_REQUEST(KVM_GET_VCPU_MMAP_SIZE), 0UL));
    auto cpuid = HF_TRY(supported_cpuid(kvm));
    UniqueFd fd{HF_TRY(ioctl_retry(kvm, HF_KVM_REQUEST(KVM_CREATE_VM), 0UL))};

    HF_TRY(ioctl_retry(fd, HF_KVM_REQUEST(KVM_SET_TSS_ADDR), kTssAddress));
    std::uint64_t identity_map = kIdentityMapAddress;
    HF_TRY(ioctl_retry(fd, HF_KVM_REQUEST(KVM_SET_IDENTITY_MAP_ADDR), &identity_map));
    HF_TRY(ioctl_retry(fd, HF_KVM_REQUEST(KVM_CREATE_IRQCHIP), 0UL));

    std::unique_ptr<Vm> vm{new Vm{std::move(fd), std::move(cpuid), static_cast<std::size_t>(run_size)}};
    vm->tsc_deadline_ = has(kvm, KVM_CAP_TSC_DEADLINE_TIMER);
    return vm;
}

Result<void> Vm::map_memory(const memcrypt::GuestMemory& memory) {
    std::uint32_t slot = 0;
    for (const memcrypt::Region& region : memory.regions())
        HF_TRY(map_slot(slot++, region.start, region.host));
    return {};
}

Result<void> Vm::map_device_page(GuestAddr start, std::span<std::byte> page) {
    return map_slot(kDevicePageSlot, start, page);
}

Result<void> Vm::map_slot(std::uint32_t slot, GuestAddr start, std::span<std::byte> host) {
    kvm_userspace_memory_region request{};
    request.slot = slot;
    request.guest_phys_addr = start.value();
    request.memory_size = host.size();
    // SAFETY: an address for the kernel; nobody here dereferences it.
    request.userspace_addr = reinterpret_cast<std::uintptr_t>(host.data());
    HF_TRY(ioctl_retry(fd_, HF_KVM_REQUEST(KVM_SET_USER_MEMORY_REGION), &request));
    return {};
}

Result<Vcpu> Vm::create_vcpu(std::uint32_t index, std::uint32_t count) {
    UniqueFd fd{HF_TRY(ioctl_retry(fd_, HF_KVM_REQUEST(KVM_CREATE_VCPU), static_cast<unsigned long>(index)))};
    const auto khz = ioctl_retry(fd, HF_KVM_REQUEST(KVM_GET_TSC_KHZ), 0UL);

    auto list = std::make_unique<CpuidList>();
    check(supported_cpuid_.size() <= kMaxCpuidEntries, "CPUID table");
    list->header.count = static_cast<std::uint32_t>(supported_cpuid_.size());
    std::ranges::copy(supported_cpuid_, list->entries.begin());
    shape_cpuid(std::span{list->entries}.first(supported_cpuid_.size()),
                {.apic_id = index,
                 .cpus = count,
                 .tsc_deadline = tsc_deadline_,
                 .tsc_khz = khz ? static_cast<std::uint32_t>(*khz) : 0});
    // Before any MSR: KVM hides those whose CPUID bit the guest lacks.
    HF_TRY(ioctl_retry(fd, HF_KVM_REQUEST(KVM_SET_CPUID2), list.get()));
    return Vcpu::create(std::move(fd), run_size_);
}

Result<irq::Line> Vm::create_line(std::uint32_t gsi) {
    EventFd event = HF_TRY(EventFd::create());
    kvm_irqfd request{};
    request.fd = static_cast<std::uint32_t>(event.fd().get());
    request.gsi = gsi;
    HF_TRY(ioctl_retry(fd_, HF_KVM_REQUEST(KVM_IRQFD), &request));
    return irq::Line{std::move(event)};
}

Result<std::uint64_t> Vm::clock() const {
    kvm_clock_data data{};
    HF_TRY(ioctl_retry(fd_, HF_KVM_REQUEST(KVM_GET_CLOCK), &data));
    return data.clock;
}

Result<void> Vm::set_clock(std::uint64_t nanoseconds) const {
    kvm_clock_data data{};
    data.clock = nanoseconds;
    HF_TRY(ioctl_retry(fd_, HF_KVM_REQUEST(KVM_SET_CLOCK), &data));
    return {};
}

void Vm::signal_msi(const irq::MsiMessage& message) const noexcept {
    kvm_msi request{};
    request.address_lo = static_cast<std::uint32_t>(message.address);
    request.address_hi = static_cast<std::uint32_t>(message.address >> 32);
    request.data = message.data;
    // Returns 0 when no CPU accepts it and an error for addresses that are no interrupt: both are the
    // guest's own doing and hardware would stay silent too.
    [[maybe_unused]] const auto delivered = ioctl_retry(fd_, HF_KVM_REQUEST(KVM_SIGNAL_MSI), &request);
}

Result<void> Vm::doorbell(std::uint64_t address, const EventFd& event, std::uint32_t flags) const {
    kvm_ioeventfd request{};
    request.addr = address;
    request.len = 0;  // any length
    request.fd = event.fd().get();
    request.flags = flags;
    HF_TRY(ioctl_retry(fd_, HF_KVM_REQUEST(KVM_IOEVENTFD), &request));
    return {};
}

Result<void> Vm::attach(std::uint64_t address, const EventFd& event) { return doorbell(address, event, 0); }

void Vm::detach(std::uint64_t address, const EventFd& event) noexcept {
    const auto done = doorbell(address, event, KVM_IOEVENTFD_FLAG_DEASSIGN);
    if (!done) log::warn("kvm.doorbell_detach", done.error(), {log::Field::hex("address", address)});
}

}  // namespace holdfast::kvm
