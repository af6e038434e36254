// SPDX-License-Identifier: Apache-2.0
// holdfast measure --snp: flags as users of sev-snp-measure know them.
#include <array>
#include <cerrno>
#include <charconv>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "cli/error.hpp"
#include "cli/measure.hpp"
#include "cli/output.hpp"
#include "memcrypt/snp/cpu_types.hpp"
#include "memcrypt/snp/measure.hpp"

namespace holdfast::cli {
namespace {

namespace snp = memcrypt::snp;

constexpr std::uint32_t kMaxVcpus = 512;

[[noreturn]] void bad_value(std::string_view flag, std::string_view value, std::string why, std::string fix) {
    throw Failure{Code::Value, fmt::format("{} '{}' cannot be used", flag, printable(value)), std::move(why),
                  std::move(fix)};
}

template <typename T>
T number(std::string_view flag, std::string_view text) {
    const bool is_hex = text.starts_with("0x");
    const std::string_view digits = is_hex ? text.substr(2) : text;
    T value{};
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, is_hex ? 16 : 10);
    if (error != std::errc{} || end != digits.data() + digits.size()) {
        bad_value(flag, text, "it is not a number, or too large", "give it in decimal, or in hex after 0x");
    }
    return value;
}

std::uint32_t signature_of(const SnpOptions& options) {
    if (!options.vcpu_family.empty()) {
        const auto part = [](std::string_view flag, const std::string& text) -> std::uint32_t {
            return text.empty() ? 0 : number<std::uint8_t>(flag, text);
        };
        return snp::cpu_signature(part("--vcpu-family", options.vcpu_family),
                                  part("--vcpu-model", options.vcpu_model),
                                  part("--vcpu-stepping", options.vcpu_stepping));
    }
    if (!options.vcpu_sig.empty()) return number<std::uint32_t>("--vcpu-sig", options.vcpu_sig);
    if (const auto found = snp::find_cpu_type(options.vcpu_type)) return *found;
    std::string names;
    for (const snp::CpuType& type : snp::cpu_types())
        names += (names.empty() ? "" : ", ") + std::string{type.name};
    bad_value("--vcpu-type", options.vcpu_type, "it is not a CPU model that this program knows",
              fmt::format("use one of {}; or --vcpu-sig", names));
}

snp::Vmm vmm_of(std::string_view word) {
    if (word.empty() || word == "QEMU") return snp::Vmm::Qemu;
    if (word == "ec2") return snp::Vmm::Ec2;
    if (word == "gce") return snp::Vmm::Gce;
    bad_value("--vmm-type", word, "it is not a VMM whose way of launching is known", "use QEMU, ec2 or gce");
}

Digest384 digest_of(std::string_view text) {
    Digest384 digest;
    const auto refuse = [&] {
        bad_value("--snp-ovmf-hash", text, "it is not 96 hexadecimal digits", "give a SHA-384 value in hex");
    };
    if (text.size() != 2 * digest.size()) refuse();
    for (std::size_t i = 0; i < digest.size(); ++i) {
        std::uint8_t byte = 0;
        const char* const start = text.data() + 2 * i;
        if (const auto [end, error] = std::from_chars(start, start + 2, byte, 16);
            error != std::errc{} || end != start + 2) {
            refuse();
        }
        digest[i] = std::byte{byte};
    }
    return digest;
}

/// Gives the file to `take` piece by piece; any kind of file will do.
template <typename Take>
void read_file(Code code, const std::string& path, Take take) {
    const auto fail = [&](const Error& error) {
        throw Failure{code, fmt::format("the file '{}' cannot be used", printable(path)), reason_of(error),
                      "give a file that exists and that this user may read"};
    };
    const UniqueFd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!fd) fail(os_error("open"));
    std::vector<std::byte> part(1 << 16);
    while (true) {
        const ssize_t got = ::read(fd.get(), part.data(), part.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) fail(os_error("read"));
        if (got == 0) return;
        take(std::span{part}.first(static_cast<std::size_t>(got)));
    }
}

Digest256 hash_file(Code code, const std::string& path) {
    Sha256 hash;
    read_file(code, path, [&hash](std::span<const std::byte> part) { hash.update(part); });
    return hash.finish();
}

std::vector<std::byte> read_firmware(const std::string& path) {
    std::vector<std::byte> image;
    read_file(Code::Firmware, path, [&image, &path](std::span<const std::byte> part) {
        if (image.size() + part.size() > snp::kMaxFirmware) {
            throw Failure{Code::Firmware, fmt::format("the firmware '{}' cannot be used", printable(path)),
                          "it is larger than 64 MiB, which no firmware is",
                          "give the image of an OVMF build"};
        }
        image.insert(image.end(), part.begin(), part.end());
    });
    return image;
}

std::string text_of(const Settings& settings, std::string_view name) {
    const auto it = settings.find(name);
    return it == settings.end() ? std::string{} : it->second.back();
}

std::optional<snp::KernelHashes> kernel_of(const MeasureOptions& options) {
    const std::string kernel = text_of(options.settings, "kernel");
    const std::string initrd = text_of(options.settings, "initrd");
    if (kernel.empty()) {
        if (initrd.empty() && options.snp.append.empty()) return std::nullopt;
        throw Failure{Code::Usage, "--initrd or --append is given without --kernel",
                      "a firmware that is given no kernel boots from a disk, which is not measured",
                      "add --kernel FILE"};
    }
    Sha256 cmdline;
    cmdline.update(std::as_bytes(std::span{options.snp.append.c_str(), options.snp.append.size() + 1}));
    return snp::KernelHashes{.cmdline = cmdline.finish(),
                             .initrd = initrd.empty() ? Sha256{}.finish() : hash_file(Code::Initrd, initrd),
                             .kernel = hash_file(Code::Kernel, kernel)};
}

void check_usage(const MeasureOptions& options) {
    for (const auto& [name, value] : options.settings) {
        if (name == "kernel" || name == "initrd") continue;
        throw Failure{Code::Usage, fmt::format("--{} is given with --snp", name),
                      "the flags of the two ways of measuring do not mix",
                      "use --vcpus and --append with --snp; holdfast measure --help shows all"};
    }
    if (options.json || !options.config.empty()) {
        throw Failure{Code::Usage, "--json or --config is given with --snp", "it prints one number: bare hex",
                      "leave it out"};
    }
    if (options.snp.ovmf.empty() || options.snp.vcpus.empty()) {
        throw Failure{Code::Usage, "--snp needs --ovmf FILE and --vcpus N",
                      "firmware and number of vCPUs are part of every SEV-SNP digest", "add what is missing"};
    }
}

}  // namespace

int measure_snp(const MeasureOptions& options) {
    check_usage(options);
    snp::Launch launch{.vmm = vmm_of(options.snp.vmm_type),
                       .vcpus = number<std::uint32_t>("--vcpus", options.snp.vcpus),
                       .kernel = kernel_of(options)};
    if (launch.vcpus == 0 || launch.vcpus > kMaxVcpus) {
        bad_value("--vcpus", options.snp.vcpus, "a guest has 1 to 512 virtual CPUs",
                  "give a number in that range");
    }
    // The others do not show the guest its CPU's signature at the start.
    if (launch.vmm == snp::Vmm::Qemu) launch.cpu_signature = signature_of(options.snp);
    if (!options.snp.guest_features.empty()) {
        launch.guest_features = number<std::uint64_t>("--guest-features", options.snp.guest_features);
    }
    if (!options.snp.ovmf_hash.empty()) launch.firmware_digest = digest_of(options.snp.ovmf_hash);

    const std::vector<std::byte> image = read_firmware(options.snp.ovmf);
    const auto firmware = snp::parse_firmware(image);
    const auto digest = firmware ? snp::launch_digest(image, *firmware, launch) : firmware.error();
    if (!digest) {
        throw Failure{Code::Firmware,
                      fmt::format("the firmware '{}' cannot be used", printable(options.snp.ovmf)),
                      reason_of(digest.error()),
                      "give an OVMF image built for SEV-SNP; with --kernel, its AmdSev variant"};
    }
    print("{}\n", hex(*digest));
    return 0;
}

}  // namespace holdfast::cli
