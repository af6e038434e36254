// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/builtin/acpi.hpp"

#include "guest_agent/builtin/boot.hpp"
#include "guest_agent/builtin/console.hpp"

namespace holdfast::builtin::acpi {
namespace {

constexpr u32 kHeader = 36;
constexpr u32 kMaxTables = 64;
// QEMU's microvm tells its ECAM in AML only; this is where it puts it, and ours does too.
constexpr u64 kDefaultEcam = 0xe0000000;

Tables found;
bool is_read;

u32 signature(std::string_view name) { return load<u32>(address_of(name.data())); }

Register generic_address(u64 at) {
    const auto space = load<u8>(at);  // 0 memory, 1 port
    const auto address = load<u64>(at + 4);
    return {.present = address != 0 && space <= 1, .is_port = space == 1, .address = address};
}

void read_madt(u64 table, u32 length) {
    found.local_apic = load<u32>(table + 36);
    for (u32 at = 44; at + 2 <= length;) {
        const auto type = load<u8>(table + at);
        const auto size = load<u8>(table + at + 1);
        if (size < 2) return;
        const bool local_apic = type == 0;
        const bool local_x2apic = type == 9;
        const u32 flags = local_apic     ? load<u32>(table + at + 4)
                          : local_x2apic ? load<u32>(table + at + 8)
                                         : 0;
        if ((flags & 1) != 0 && found.processors < found.apic_ids.size()) {
            found.apic_ids[found.processors++] =
                local_apic ? load<u8>(table + at + 3) : load<u32>(table + at + 4);
        }
        at += size;
    }
}

void read_fadt(u64 table, u32 length) {
    if (length >= 129) {
        found.reset = generic_address(table + 116);
        found.reset_value = load<u8>(table + 128);
    }
    if (length >= 256) found.sleep_control = generic_address(table + 244);
}

void read_mcfg(u64 table, u32 length) {
    if (length < 60) return;
    found.ecam = load<u64>(table + 44);
}

void read_table(u64 table) {
    const auto name = load<u32>(table);
    const auto length = load<u32>(table + 4);
    memory::reserve(table, length);
    if (name == signature("APIC")) read_madt(table, length);
    if (name == signature("FACP")) read_fadt(table, length);
    if (name == signature("MCFG")) read_mcfg(table, length);
}

u64 find_rsdp() {
    if (boot::rsdp() != 0) return boot::rsdp();
    for (u64 at = 0xe0000; at < 0x100000; at += 16) {  // 5.2.5.1
        if (load<u64>(at) == load<u64>(address_of("RSD PTR "))) return at;
    }
    return 0;
}

void read_all() {
    const u64 rsdp = find_rsdp();
    found.ecam = kDefaultEcam;
    if (rsdp == 0) return;
    memory::reserve(rsdp, 36);
    const bool has_xsdt = load<u8>(rsdp + 15) >= 2 && load<u64>(rsdp + 24) != 0;
    const u64 root = has_xsdt ? load<u64>(rsdp + 24) : load<u32>(rsdp + 16);
    const u32 entry_size = has_xsdt ? 8 : 4;
    const auto length = load<u32>(root + 4);
    memory::reserve(root, length);
    found.oem = load<std::array<char, 6>>(root + 10);
    for (u32 i = 0; i < kMaxTables && kHeader + (i + 1) * entry_size <= length; ++i) {
        const u64 at = root + kHeader + i * entry_size;
        read_table(has_xsdt ? load<u64>(at) : load<u32>(at));
    }
}

}  // namespace

const Tables& tables() {
    if (!is_read) {
        is_read = true;
        read_all();
    }
    return found;
}

std::string_view Tables::oem_name() const {
    std::string_view name{oem.data(), oem.size()};
    while (!name.empty() && (name.back() == ' ' || name.back() == '\0')) name.remove_suffix(1);
    return name;
}

void Register::write(u8 value) const {
    if (is_port) {
        port_write(static_cast<u16>(address), value);
    } else {
        mmio_write(address, value);
    }
}

}  // namespace holdfast::builtin::acpi
