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

// Memory slots: RAM from 0 on, of which there are two at most; those of devices behind them.
constexpr std::uint32_t kDeviceSlots = 8;
// Interrupt numbers: the I/O APIC's pins, of which the PICs have the first; messages behind them.
constexpr std::uint32_t kPicPins = 16;
constexpr std::uint32_t kIoApicPins = 24;
constexpr std::size_t kMostRoutes = 1024;

struct Needed {
    unsigned long capability;
    const char* missing;
};
constexpr std::array<Needed, 8> kNeeded{{
    {KVM_CAP_IRQCHIP, "KVM lacks the in-kernel interrupt controller"},
    {KVM_CAP_USER_MEMORY, "KVM lacks user memory regions"},
    {KVM_CAP_IRQFD, "KVM lacks irqfd"},
    {KVM_CAP_IOEVENTFD_ANY_LENGTH, "KVM lacks ioeventfd of any length"},
    {KVM_CAP_SIGNAL_MSI, "KVM lacks KVM_SIGNAL_MSI"},
    {KVM_CAP_IRQ_ROUTING, "KVM lacks interrupt routing"},
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

/// What KVM_SET_GSI_ROUTING takes: always the whole table, so what KVM had in the beginning stands here too.
struct Vm::Routes : CountedList<kvm_irq_routing_entry, kMostRoutes> {
    Routes() {
        for (std::uint32_t pin = 0; pin < kIoApicPins; ++pin) {
            if (pin < kPicPins)
                add_pin(pin, pin < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, pin % 8);
            add_pin(pin, KVM_IRQCHIP_IOAPIC, pin);
        }
    }
    void add_pin(std::uint32_t gsi, std::uint32_t chip, std::uint32_t pin) {
        kvm_irq_routing_entry& entry = entries[header.count++];
        entry.gsi = gsi;
        entry.type = KVM_IRQ_ROUTING_IRQCHIP;
        entry.u.irqchip = {.irqchip = chip, .pin = pin};
    }
    std::uint32_t next_gsi = kIoApicPins;
};

Vm::Vm(UniqueFd fd, std::vector<kvm_cpuid_entry2> cpuid, std::size_t run_size)
    : fd_{std::move(fd)},
      supported_cpuid_{std::move(cpuid)},
      run_size_{run_size},
      routes_{std::make_unique<Routes>()} {}

Vm::~Vm() = default;

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

Result<void> Vm::map(std::uint64_t address, std::span<std::byte> pages) {
    const Lock hold{slots_lock_};
    auto free = std::ranges::find(slots_, std::optional<std::uint64_t>{});
    if (free == slots_.end()) free = slots_.insert(slots_.end(), std::nullopt);
    HF_TRY(map_slot(kDeviceSlots + static_cast<std::uint32_t>(free - slots_.begin()), GuestAddr{address},
                    pages));
    *free = address;
    return {};
}

void Vm::unmap(std::uint64_t address) noexcept {
    const Lock hold{slots_lock_};
    const auto used = std::ranges::find(slots_, std::optional{address});
    check(used != slots_.end(), "a memory slot is there");
    const auto slot = kDeviceSlots + static_cast<std::uint32_t>(used - slots_.begin());
    if (const auto gone = map_slot(slot, GuestAddr{address}, {}); !gone)
        log::warn("kvm.slot", gone.error(), {log::Field::hex("address", address)});
    used->reset();
}

Result<void> Vm::map_slot(std::uint32_t slot, GuestAddr start, std::span<std::byte> host) const {
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
    HF_TRY(connect(gsi, event));
    return irq::Line{std::move(event)};
}

Result<irq::LevelLine> Vm::create_level_line(std::uint32_t gsi) {
    irq::LevelLine line{.raised = HF_TRY(EventFd::create()), .ended = HF_TRY(EventFd::create())};
    HF_TRY(irqfd(gsi, line.raised, KVM_IRQFD_FLAG_RESAMPLE, &line.ended));
    return line;
}

Result<std::uint32_t> Vm::allocate_gsi() {
    const Lock hold{routes_lock_};
    if (routes_->next_gsi == kMostRoutes - kPicPins) return Error{Fault::Os, ENOSPC, "interrupts of devices"};
    return routes_->next_gsi++;
}

Result<void> Vm::route_msi(std::uint32_t gsi, const irq::MsiMessage& message) {
    const Lock hold{routes_lock_};
    auto* const end = routes_->entries.begin() + routes_->header.count;
    auto* const entry = std::find_if(routes_->entries.begin(), end,
                                     [gsi](const kvm_irq_routing_entry& known) { return known.gsi == gsi; });
    if (entry == end) ++routes_->header.count;
    entry->gsi = gsi;
    entry->type = KVM_IRQ_ROUTING_MSI;
    entry->u.msi = {.address_lo = static_cast<std::uint32_t>(message.address),
                    .address_hi = static_cast<std::uint32_t>(message.address >> 32),
                    .data = message.data,
                    .pad = 0};
    HF_TRY(ioctl_retry(fd_, HF_KVM_REQUEST(KVM_SET_GSI_ROUTING), routes_.get()));
    return {};
}

Result<void> Vm::connect(std::uint32_t gsi, const EventFd& event) const { return irqfd(gsi, event, 0); }

Result<void> Vm::disconnect(std::uint32_t gsi, const EventFd& event) const {
    return irqfd(gsi, event, KVM_IRQFD_FLAG_DEASSIGN);
}

Result<void> Vm::irqfd(std::uint32_t gsi, const EventFd& event, std::uint32_t flags,
                       const EventFd* ended) const {
    kvm_irqfd request{};
    request.fd = static_cast<std::uint32_t>(event.fd().get());
    request.gsi = gsi;
    request.flags = flags;
    if (ended != nullptr) request.resamplefd = static_cast<std::uint32_t>(ended->fd().get());
    HF_TRY(ioctl_retry(fd_, HF_KVM_REQUEST(KVM_IRQFD), &request));
    return {};
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
