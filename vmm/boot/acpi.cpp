// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/acpi.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <vector>

#include "sys/wire/endian.hpp"
#include "vmm/boot/layout.hpp"
#include "vmm/legacy/power.hpp"
#include "vmm/pci/root_complex.hpp"
#include "vmm/tpm/crb.hpp"

namespace holdfast::boot {
namespace {

constexpr std::string_view kOemId = "HOLDFA";
constexpr std::string_view kOemTableId = "HOLDFAST";

constexpr auto kDsdt = std::to_array<std::uint8_t>({
#include "vmm/boot/dsdt.inc"
});
constexpr auto kTpmSsdt = std::to_array<std::uint8_t>({
#include "vmm/boot/tpm.inc"
});
constexpr auto kIntxSsdt = std::to_array<std::uint8_t>({
#include "vmm/boot/intx.inc"
});

/// A table being built: the 36-byte header of ACPI 6.5 §5.2.6, then the body.
class Table {
public:
    Table(std::string_view signature, std::uint8_t revision) {
        text(signature);
        put(std::uint32_t{0});  // length, see finish()
        put(revision);
        put(std::uint8_t{0});  // checksum, see finish()
        text(kOemId);
        text(kOemTableId);
        put(std::uint32_t{1});  // OEM revision
        text("HLDF");           // creator
        put(std::uint32_t{1});
    }
    template <std::unsigned_integral T>
    void put(T value) {
        const Le<T> ordered{value};
        const auto bytes = std::as_bytes(std::span{&ordered, 1});
        bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    }
    void text(std::string_view value) {
        for (const char c : value) put(static_cast<std::uint8_t>(c));
    }
    void zeros_until(std::size_t offset) { bytes_.resize(offset); }
    /// Generic Address Structure (§5.2.3.2) of one byte-wide port.
    void port(std::uint16_t address) {
        constexpr std::uint8_t kSystemIo = 1;
        constexpr std::uint8_t kByteAccess = 1;
        put(kSystemIo);
        put(std::uint8_t{8});
        put(std::uint8_t{0});
        put(kByteAccess);
        put(std::uint64_t{address});
    }
    [[nodiscard]] std::span<const std::byte> finish() {
        const Le<std::uint32_t> length{static_cast<std::uint32_t>(bytes_.size())};
        std::memcpy(bytes_.data() + 4, &length, sizeof length);
        bytes_[9] = checksum(bytes_);
        return bytes_;
    }
    /// The byte that makes the sum of all bytes zero; the checksum field itself is still zero.
    static std::byte checksum(std::span<const std::byte> bytes) {
        unsigned sum = 0;
        for (const std::byte byte : bytes) sum += std::to_integer<unsigned>(byte);
        return static_cast<std::byte>(0U - sum);
    }

private:
    std::vector<std::byte> bytes_;
};

/// Places tables one after the other.
class Placer {
public:
    Placer(Loader& loader, std::uint64_t at) : loader_{loader}, at_{at} {}
    Result<std::uint64_t> place(std::span<const std::byte> bytes) {
        const std::uint64_t at = at_;
        check(at + bytes.size() <= kAcpiTables.value() + kAcpiRoom, "ACPI tables outgrow their room");
        HF_TRY(loader_.write(GuestAddr{at}, bytes));
        at_ = (at + bytes.size() + 15) & ~std::uint64_t{15};
        return at;
    }

private:
    Loader& loader_;
    std::uint64_t at_;
};

Table make_fadt(std::uint64_t dsdt_address) {
    constexpr std::uint16_t kNoVga = 1U << 2;
    constexpr std::uint16_t kNoRtc = 1U << 5;
    constexpr std::uint32_t kWbinvd = 1U << 0;
    constexpr std::uint32_t kPowerButtonIsDevice = 1U << 4;
    constexpr std::uint32_t kSleepButtonIsDevice = 1U << 5;
    constexpr std::uint32_t kResetRegister = 1U << 10;
    constexpr std::uint32_t kHardwareReduced = 1U << 20;
    Table table{"FACP", 6};
    table.zeros_until(40);
    table.put(static_cast<std::uint32_t>(dsdt_address));
    table.zeros_until(109);
    table.put(static_cast<std::uint16_t>(kNoVga | kNoRtc));
    table.zeros_until(112);
    table.put(kWbinvd | kPowerButtonIsDevice | kSleepButtonIsDevice | kResetRegister | kHardwareReduced);
    table.port(legacy::kPowerPort + legacy::kResetOffset);
    table.put(legacy::kResetValue);
    table.zeros_until(131);
    table.put(std::uint8_t{5});  // minor version
    table.zeros_until(140);
    table.put(dsdt_address);
    table.zeros_until(244);
    table.port(legacy::kPowerPort + legacy::kSleepControlOffset);
    table.port(legacy::kPowerPort + legacy::kSleepStatusOffset);
    table.text("HOLDFAST");  // hypervisor vendor identity
    return table;
}

Table make_madt(std::uint32_t cpus) {
    Table table{"APIC", 5};
    table.put(static_cast<std::uint32_t>(kLocalApic));
    table.put(std::uint32_t{0});  // no 8259
    for (std::uint32_t cpu = 0; cpu < cpus; ++cpu) {
        table.put(std::uint8_t{0});  // processor local APIC, §5.2.12.2
        table.put(std::uint8_t{8});
        table.put(static_cast<std::uint8_t>(cpu));
        table.put(static_cast<std::uint8_t>(cpu));
        table.put(std::uint32_t{1});  // enabled
    }
    table.put(std::uint8_t{1});  // I/O APIC, §5.2.12.3
    table.put(std::uint8_t{12});
    table.put(std::uint16_t{0});  // id 0
    table.put(static_cast<std::uint32_t>(kIoApic));
    table.put(std::uint32_t{0});  // first GSI
    return table;
}

Table make_mcfg() {
    Table table{"MCFG", 1};  // PCI Firmware Specification 3.3 §4.1.2
    table.put(std::uint64_t{0});
    table.put(pci::kEcamStart);
    table.put(std::uint16_t{0});  // segment
    table.put(std::uint8_t{0});   // first bus
    table.put(std::uint8_t{0});   // last bus
    table.put(std::uint32_t{0});
    return table;
}

/// TCG ACPI Specification 1.4 §8, the client platform's form.
Table make_tpm2() {
    constexpr std::uint32_t kStartMethodCrb = 7;
    constexpr std::size_t kLogArea = 64;
    Table table{"TPM2", 4};
    table.put(std::uint16_t{0});  // platform class: client
    table.put(std::uint16_t{0});
    table.put(tpm::kCrbControlArea);
    table.put(kStartMethodCrb);
    table.zeros_until(kLogArea);  // the start method has no parameters
    table.put(kEventLogSize);
    table.put(kEventLog.value());
    return table;
}

/// §5.2.34: one virtio-pci based IOMMU node, and one PCI range node that points to it.
Table make_viot(const Viot& viot) {
    constexpr std::uint16_t kFirstNode = 48;
    constexpr std::uint8_t kPciRange = 1;
    constexpr std::uint8_t kVirtioPci = 3;
    constexpr std::uint16_t kVirtioPciSize = 16;
    constexpr std::uint16_t kPciRangeSize = 24;
    Table table{"VIOT", 0};
    table.put(std::uint16_t{2});  // nodes
    table.put(kFirstNode);
    table.zeros_until(kFirstNode);
    table.put(kVirtioPci);
    table.put(std::uint8_t{0});
    table.put(kVirtioPciSize);
    table.put(std::uint16_t{0});  // segment
    table.put(endpoint_id(viot.iommu));
    table.zeros_until(kFirstNode + kVirtioPciSize);
    table.put(kPciRange);
    table.put(std::uint8_t{0});
    table.put(kPciRangeSize);
    table.put(std::uint32_t{endpoint_id(viot.first)});
    table.put(std::uint16_t{0});  // first segment
    table.put(std::uint16_t{0});  // last segment
    table.put(endpoint_id(viot.first));
    table.put(endpoint_id(viot.last));
    table.put(kFirstNode);  // output: the IOMMU
    table.zeros_until(kFirstNode + kVirtioPciSize + kPciRangeSize);
    return table;
}

std::vector<std::byte> make_rsdp(std::uint64_t xsdt_address) {
    constexpr std::size_t kFirstPart = 20;  // what ACPI 1.0 summed
    constexpr std::size_t kSize = 36;
    std::vector<std::byte> rsdp(kSize);
    const auto put = [&rsdp](std::size_t offset, const auto& value) {
        std::memcpy(rsdp.data() + offset, &value, sizeof value);
    };
    std::memcpy(rsdp.data(), "RSD PTR ", 8);
    std::ranges::copy(std::as_bytes(std::span{kOemId}), rsdp.begin() + 9);
    put(15, std::uint8_t{2});  // revision
    put(20, Le<std::uint32_t>{kSize});
    put(24, Le<std::uint64_t>{xsdt_address});
    rsdp[8] = Table::checksum(std::span{rsdp}.first(kFirstPart));
    rsdp[32] = Table::checksum(rsdp);
    return rsdp;
}

}  // namespace

std::span<const std::uint8_t> dsdt() noexcept { return kDsdt; }
std::span<const std::uint8_t> tpm_ssdt() noexcept { return kTpmSsdt; }
std::span<const std::uint8_t> intx_ssdt() noexcept { return kIntxSsdt; }

Result<void> write_acpi_tables(Loader& loader, std::uint32_t cpus, WithTpm tpm,
                               const std::optional<Viot>& viot) {
    constexpr std::uint64_t kRsdpRoom = 64;
    Placer placer{loader, kAcpiTables.value() + kRsdpRoom};
    const std::uint64_t dsdt_address = HF_TRY(placer.place(std::as_bytes(dsdt())));
    Table xsdt{"XSDT", 1};
    xsdt.put(HF_TRY(placer.place(make_fadt(dsdt_address).finish())));
    xsdt.put(HF_TRY(placer.place(make_madt(cpus).finish())));
    xsdt.put(HF_TRY(placer.place(make_mcfg().finish())));
    if (tpm == WithTpm::Yes) {
        xsdt.put(HF_TRY(placer.place(std::as_bytes(tpm_ssdt()))));
        xsdt.put(HF_TRY(placer.place(make_tpm2().finish())));
    }
    if (viot) xsdt.put(HF_TRY(placer.place(make_viot(*viot).finish())));
    if (viot && viot->lines) xsdt.put(HF_TRY(placer.place(std::as_bytes(intx_ssdt()))));
    const std::uint64_t xsdt_address = HF_TRY(placer.place(xsdt.finish()));
    return loader.write(kAcpiTables, make_rsdp(xsdt_address));
}

}  // namespace holdfast::boot
