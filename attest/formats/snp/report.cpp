// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/snp/report.hpp"

#include <algorithm>
#include <cstring>

#include "sys/wire/endian.hpp"

namespace holdfast::attest {

template <>
struct Voucher<snp::Report, Stage::Parse> {
    static Parsed<snp::Report> grant(const snp::Report& report) { return Parsed<snp::Report>{report}; }
};

}  // namespace holdfast::attest

namespace holdfast::attest::snp {
namespace {

constexpr std::uint32_t kOldestVersion = 2;
constexpr std::uint32_t kNewestVersion = 5;
constexpr std::uint32_t kFirstWithCpu = 3;
constexpr std::uint32_t kFirstWithMitigations = 5;
constexpr std::size_t kSignedSize = 0x2a0;

struct Version {
    std::uint8_t build;
    std::uint8_t minor;
    std::uint8_t major;
    std::uint8_t reserved;
};

struct Wire {
    Le<std::uint32_t> version;
    Le<std::uint32_t> guest_svn;
    Le<std::uint64_t> policy;
    std::array<std::byte, 16> family_id;
    std::array<std::byte, 16> image_id;
    Le<std::uint32_t> vmpl;
    Le<std::uint32_t> signature_algorithm;
    TcbBytes current_tcb;
    Le<std::uint64_t> platform_info;
    Le<std::uint32_t> key_info;
    Le<std::uint32_t> reserved_4c;
    std::array<std::byte, 64> report_data;
    std::array<std::byte, 48> measurement;
    std::array<std::byte, 32> host_data;
    std::array<std::byte, 48> id_key_digest;
    std::array<std::byte, 48> author_key_digest;
    std::array<std::byte, 32> report_id;
    std::array<std::byte, 32> report_id_ma;
    TcbBytes reported_tcb;
    CpuId cpu;
    std::array<std::byte, 21> reserved_18b;
    std::array<std::byte, 64> chip_id;
    TcbBytes committed_tcb;
    Version current;
    Version committed;
    TcbBytes launch_tcb;
    Le<std::uint64_t> launch_mitigations;
    Le<std::uint64_t> current_mitigations;
    std::array<std::byte, 152> reserved_208;
    std::array<std::byte, 512> signature;
};
static_assert(sizeof(Wire) == kReportSize && alignof(Wire) == 1);
static_assert(offsetof(Wire, report_data) == 0x50 && offsetof(Wire, reported_tcb) == 0x180 &&
              offsetof(Wire, chip_id) == 0x1a0 && offsetof(Wire, launch_tcb) == 0x1f0 &&
              offsetof(Wire, signature) == kSignedSize);

FirmwareVersion firmware_of(const Version& version) noexcept {
    return {.major = version.major, .minor = version.minor, .build = version.build};
}

}  // namespace

bool Report::chip_id_masked() const noexcept {
    return std::ranges::all_of(chip_id, [](std::byte b) { return b == std::byte{0}; });
}

Result<Parsed<Report>> parse_report(std::span<const std::byte> bytes) {
    if (bytes.size() != kReportSize) return input_error("an SNP report has 1184 bytes, and this has not");
    Wire wire;
    std::memcpy(&wire, bytes.data(), sizeof wire);
    Report report;
    report.version = wire.version.get();
    if (report.version < kOldestVersion || report.version > kNewestVersion) {
        return input_error("an SNP report of a version that is not read (2 to 5 are)");
    }
    report.guest_svn = wire.guest_svn.get();
    report.policy = wire.policy.get();
    report.vmpl = wire.vmpl.get();
    report.signature_algorithm = wire.signature_algorithm.get();
    report.platform_info = wire.platform_info.get();
    report.key_info = wire.key_info.get();
    report.current_tcb = wire.current_tcb;
    report.reported_tcb = wire.reported_tcb;
    report.committed_tcb = wire.committed_tcb;
    report.launch_tcb = wire.launch_tcb;
    // No SNP processor is of family 0: some clouds hide what theirs is.
    if (report.version >= kFirstWithCpu && wire.cpu.family != 0) report.cpu = wire.cpu;
    report.current_firmware = firmware_of(wire.current);
    report.committed_firmware = firmware_of(wire.committed);
    if (report.version >= kFirstWithMitigations) {
        report.mitigations = {.launch = wire.launch_mitigations.get(),
                              .current = wire.current_mitigations.get()};
    }
    const auto field = [&](std::size_t offset, std::size_t size) { return bytes.subspan(offset, size); };
    report.family_id = field(offsetof(Wire, family_id), sizeof wire.family_id);
    report.image_id = field(offsetof(Wire, image_id), sizeof wire.image_id);
    report.report_data = field(offsetof(Wire, report_data), sizeof wire.report_data);
    report.measurement = field(offsetof(Wire, measurement), sizeof wire.measurement);
    report.host_data = field(offsetof(Wire, host_data), sizeof wire.host_data);
    report.id_key_digest = field(offsetof(Wire, id_key_digest), sizeof wire.id_key_digest);
    report.author_key_digest = field(offsetof(Wire, author_key_digest), sizeof wire.author_key_digest);
    report.report_id = field(offsetof(Wire, report_id), sizeof wire.report_id);
    report.report_id_ma = field(offsetof(Wire, report_id_ma), sizeof wire.report_id_ma);
    report.chip_id = field(offsetof(Wire, chip_id), sizeof wire.chip_id);
    report.signed_part = bytes.first(kSignedSize);
    report.signature = bytes.subspan(kSignedSize);
    report.raw = bytes;
    return Voucher<Report, Stage::Parse>::grant(report);
}

}  // namespace holdfast::attest::snp
