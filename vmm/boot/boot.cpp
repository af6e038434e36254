// SPDX-License-Identifier: Apache-2.0
// Linux boot_params: Documentation/arch/x86/zero-page.rst. PVH: xen/include/public/arch-x86/hvm/start_info.h.
#include "vmm/boot/boot.hpp"

#include <array>
#include <cstring>
#include <optional>

#include "sys/wire/endian.hpp"
#include "vmm/boot/acpi.hpp"
#include "vmm/boot/layout.hpp"
#include "vmm/legacy/power.hpp"
#include "vmm/pci/root_complex.hpp"

namespace holdfast::boot {
namespace {

struct Initrd {
    std::uint64_t start = 0;
    std::uint64_t size = 0;
};

namespace wire {
struct StartInfo {
    Le<std::uint32_t> magic{0x336ec578};
    Le<std::uint32_t> version{1};
    Le<std::uint32_t> flags;
    Le<std::uint32_t> nr_modules;
    Le<std::uint64_t> modlist_paddr;
    Le<std::uint64_t> cmdline_paddr;
    Le<std::uint64_t> rsdp_paddr;
    Le<std::uint64_t> memmap_paddr;
    Le<std::uint32_t> memmap_entries;
    Le<std::uint32_t> reserved;
};
static_assert(sizeof(StartInfo) == 56);

struct Module {
    Le<std::uint64_t> paddr;
    Le<std::uint64_t> size;
    Le<std::uint64_t> cmdline_paddr;
    Le<std::uint64_t> reserved;
};
static_assert(sizeof(Module) == 32);

struct MapEntry {
    Le<std::uint64_t> addr;
    Le<std::uint64_t> size;
    Le<std::uint32_t> type;
    Le<std::uint32_t> reserved;
};
static_assert(sizeof(MapEntry) == 24);

struct E820Entry {
    Le<std::uint64_t> addr;
    Le<std::uint64_t> size;
    Le<std::uint32_t> type;
};
static_assert(sizeof(E820Entry) == 20);
}  // namespace wire

// Offsets in struct boot_params.
namespace zero_page {
constexpr std::size_t acpi_rsdp_addr = 0x070;
constexpr std::size_t e820_entries = 0x1e8;
constexpr std::size_t hdr = 0x1f1;
constexpr std::size_t type_of_loader = 0x210;
constexpr std::size_t ramdisk_image = 0x218;
constexpr std::size_t ramdisk_size = 0x21c;
constexpr std::size_t cmd_line_ptr = 0x228;
constexpr std::size_t e820_table = 0x2d0;
constexpr std::size_t kMaxE820 = 128;
constexpr std::size_t kMaxHeader = 0x290 - hdr;
}  // namespace zero_page
constexpr std::uint8_t kLoaderUndefined = 0xff;

template <typename T>
void put(std::span<std::byte> page, std::size_t offset, const T& value) {
    std::memcpy(page.subspan(offset, sizeof value).data(), &value, sizeof value);
}

/// As high as RAM and the kernel's own limit allow, on a page.
Result<Initrd> load_initrd(Loader& loader, const UniqueFd& file, const Kernel& kernel) {
    if (!file) return Initrd{};
    const std::uint64_t size = HF_TRY(file_size(file));
    if (size == 0) return input_error("initrd is empty");
    const std::uint64_t top = std::min(low_ram_end(loader.memory()) - 1, kernel.initrd_limit) + 1;
    if (size > top) return input_error("guest memory is too small for kernel and initrd");
    const std::uint64_t start = (top - size) & ~(kPageSize - 1);
    if (start < kernel.end.value()) return input_error("guest memory is too small for kernel and initrd");
    HF_TRY(loader.load(GuestAddr{start}, file, 0, size));
    return Initrd{start, size};
}

Result<void> write_cmdline(Loader& loader, std::string_view cmdline, const Kernel& kernel) {
    if (cmdline.size() > kernel.cmdline_limit)
        return input_error("command line is longer than the kernel takes");
    if (cmdline.find('\0') != std::string_view::npos) return input_error("command line has a zero byte");
    HF_TRY(loader.write(kCmdline, std::as_bytes(std::span{cmdline})));
    return loader.write_value(HF_TRY(kCmdline.plus(cmdline.size())), std::byte{0});
}

/// Identity map of the first 4 GiB by 2 MiB pages.
Result<void> write_page_tables(Loader& loader) {
    constexpr std::uint64_t kPresentWrite = 3;
    constexpr std::uint64_t kLarge = 1ULL << 7;
    constexpr std::size_t kEntries = 512;
    constexpr std::size_t kDirectories = 4;
    const std::uint64_t base = kPageTables.value();
    const auto table = [](std::uint64_t index) { return base + index * kPageSize; };
    HF_TRY(loader.write_value(GuestAddr{table(0)}, Le<std::uint64_t>{table(1) | kPresentWrite}));
    std::array<Le<std::uint64_t>, kDirectories> pointers;
    std::array<Le<std::uint64_t>, kEntries> directory;
    for (std::uint64_t i = 0; i < kDirectories; ++i) {
        pointers[i] = table(2 + i) | kPresentWrite;
        for (std::uint64_t j = 0; j < kEntries; ++j) {
            directory[j] = (i * kEntries + j) << 21 | kPresentWrite | kLarge;
        }
        HF_TRY(loader.write_value(GuestAddr{table(2 + i)}, directory));
    }
    return loader.write_value(GuestAddr{table(1)}, pointers);
}

Result<void> write_start_info(Loader& loader, const Initrd& initrd) {
    const auto map = memory_map(loader.memory());
    const std::uint64_t modules = kStartInfo.value() + sizeof(wire::StartInfo);
    const std::uint64_t entries = modules + sizeof(wire::Module);
    HF_TRY(loader.write_value(kStartInfo, wire::StartInfo{
                                              .flags = {},
                                              .nr_modules = initrd.size != 0 ? 1U : 0U,
                                              .modlist_paddr = initrd.size != 0 ? modules : 0,
                                              .cmdline_paddr = kCmdline.value(),
                                              .rsdp_paddr = kAcpiTables.value(),
                                              .memmap_paddr = entries,
                                              .memmap_entries = static_cast<std::uint32_t>(map.size()),
                                              .reserved = {},
                                          }));
    if (initrd.size != 0) {
        HF_TRY(
            loader.write_value(GuestAddr{modules}, wire::Module{.paddr = initrd.start, .size = initrd.size}));
    }
    std::uint64_t at = entries;
    for (const MemoryRange& range : map) {
        HF_TRY(
            loader.write_value(GuestAddr{at}, wire::MapEntry{.addr = range.start,
                                                             .size = range.size,
                                                             .type = static_cast<std::uint32_t>(range.type),
                                                             .reserved = {}}));
        at += sizeof(wire::MapEntry);
    }
    return {};
}

Result<void> write_zero_page(Loader& loader, const Kernel& kernel, const Initrd& initrd) {
    std::array<std::byte, kPageSize> page{};
    const auto header = std::span{kernel.setup_header};
    std::ranges::copy(header.first(std::min(header.size(), zero_page::kMaxHeader)),
                      page.begin() + zero_page::hdr);
    put(page, zero_page::type_of_loader, kLoaderUndefined);
    put(page, zero_page::ramdisk_image, Le<std::uint32_t>{static_cast<std::uint32_t>(initrd.start)});
    put(page, zero_page::ramdisk_size, Le<std::uint32_t>{static_cast<std::uint32_t>(initrd.size)});
    put(page, zero_page::cmd_line_ptr, Le<std::uint32_t>{static_cast<std::uint32_t>(kCmdline.value())});
    put(page, zero_page::acpi_rsdp_addr, Le<std::uint64_t>{kAcpiTables.value()});
    const auto map = memory_map(loader.memory());
    check(map.size() <= zero_page::kMaxE820, "e820 table");
    put(page, zero_page::e820_entries, static_cast<std::uint8_t>(map.size()));
    std::size_t at = zero_page::e820_table;
    for (const MemoryRange& range : map) {
        put(page, at, wire::E820Entry{range.start, range.size, static_cast<std::uint32_t>(range.type)});
        at += sizeof(wire::E820Entry);
    }
    return loader.write(kZeroPage, page);
}

/// All the firmware there is. Linux takes a machine with hardware-reduced ACPI for one with EFI, does not use
/// the reset register, finds no EFI, and reboots as a PC of 1981 does: in real mode, by a jump to the reset
/// vector.
Result<void> write_reset_vector(Loader& loader) {
    constexpr std::uint16_t port = legacy::kPowerPort + legacy::kResetOffset;
    constexpr std::array<std::uint8_t, 9> code{
        0xba,      port & 0xff,
        port >> 8,                       // mov dx, port
        0xb0,      legacy::kResetValue,  // mov al, value
        0xee,                            // out dx, al
        0xf4,      0xeb,
        0xfd,  // hlt; jmp to the hlt
    };
    return loader.write(kResetVector, std::as_bytes(std::span{code}));
}

}  // namespace

std::vector<MemoryRange> memory_map(const memcrypt::GuestMemory& memory) {
    std::vector<MemoryRange> map{
        {0, kLowRamEnd.value(), MemoryType::Ram},
        {kLowRamEnd.value(), kHighMemory.value() - kLowRamEnd.value(), MemoryType::Reserved},
        {kHighMemory.value(), low_ram_end(memory) - kHighMemory.value(), MemoryType::Ram},
        // Linux uses an ECAM window only if the map (or ACPI) reserves it.
        {pci::kEcamStart, pci::kEcamSize, MemoryType::Reserved}};
    for (const memcrypt::Region& region : memory.regions().subspan(1)) {
        map.push_back({region.start.value(), region.host.size(), MemoryType::Ram});
    }
    return map;
}

Result<kvm::EntryState> load(Loader& loader, const Inputs& inputs) {
    const Kernel kernel = HF_TRY(load_kernel(loader, inputs.kernel, inputs.elf_entry));
    const Initrd initrd = HF_TRY(load_initrd(loader, inputs.initrd, kernel));
    HF_TRY(write_cmdline(loader, inputs.cmdline, kernel));
    check(inputs.shape.size() <= kPageSize, "shape outgrows its page");
    HF_TRY(loader.write(kShape, std::as_bytes(std::span{inputs.shape})));
    HF_TRY(write_acpi_tables(loader, inputs.cpus, inputs.event_log.empty() ? WithTpm::No : WithTpm::Yes,
                             inputs.viot));
    if (inputs.event_log.size() > kEventLogSize) return input_error("TPM event log outgrows its room");
    HF_TRY(loader.write(kEventLog, inputs.event_log));
    HF_TRY(write_reset_vector(loader));
    const bool linux_protocol = !kernel.setup_header.empty();
    HF_TRY(linux_protocol ? write_zero_page(loader, kernel, initrd) : write_start_info(loader, initrd));
    const bool long_mode = kernel.mode == kvm::EntryState::Mode::Long64;
    if (long_mode) HF_TRY(write_page_tables(loader));
    HF_TRY(loader.write_value(kGdt, kvm::boot_gdt(kernel.mode)));
    return kvm::EntryState{.mode = kernel.mode,
                           .instruction = kernel.entry,
                           .argument = linux_protocol ? kZeroPage : kStartInfo,
                           .gdt = kGdt,
                           .page_table = kPageTables};
}

}  // namespace holdfast::boot
