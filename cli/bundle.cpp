// SPDX-License-Identifier: Apache-2.0
// A bundle that is launched: whose it is, what it decides, and that its files are the ones that were signed.
#include "cli/bundle.hpp"

#include <algorithm>
#include <array>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "cli/error.hpp"
#include "cli/files.hpp"
#include "cli/output.hpp"
#include "cli/resources.hpp"
#include "cli/signing.hpp"
#include "sys/mapping.hpp"
#include "sys/signed.hpp"
#include "vmm/guest_load.hpp"

namespace holdfast::cli {
namespace {

// What a bundle decides, said or not: a default of another version must not decide it instead.
constexpr std::array<std::string_view, 12> kDecided{
    "kernel",       "initrd",     "cmdline",       "builtin", "memory", "cpus", "memory-encryption",
    "clear-window", "seal-after", "memory-cipher", "vtpm",    "console"};

/// libvirt says these three of every domain: what was signed may be said again.
bool says_the_same(std::string_view name, const std::string& value, const std::string& was_signed) {
    if (name == "memory") return parse_size(value) == parse_size(was_signed);
    return (name == "cpus" || name == "console") && value == was_signed;
}

void check_said(const Settings& settings, const attest::BundleManifest& manifest) {
    for (const auto& [name, values] : settings) {
        if (std::ranges::find(kDecided, name) == kDecided.end()) continue;
        const auto found = manifest.settings.find(name);
        const std::string was_signed = found == manifest.settings.end() ? std::string{} : found->second;
        if (says_the_same(name, values.back(), was_signed)) continue;
        throw Failure{Code::BundleDecides,
                      fmt::format("--{} {} is given beside a bundle{}{}", name, printable(values.back()),
                                  was_signed.empty() ? "" : " that has ", printable(was_signed)),
                      "that is one of the things that whoever signed the bundle has decided",
                      "leave it out; holdfast bundle inspect shows what is decided"};
    }
}

[[noreturn]] void unusable(const std::string& directory, std::string why, std::string fix) {
    throw Failure{Code::Bundle, fmt::format("the bundle '{}' cannot be used", printable(directory)),
                  std::move(why), std::move(fix)};
}

/// The keys that --bundle-key names, else the host's own.
std::vector<std::string> trusted_keys(Settings& flags, Settings& file) {
    auto given = flags.extract("bundle-key");
    auto written = file.extract("bundle-key");
    if (given) return std::move(given.mapped());
    if (written) return std::move(written.mapped());
    if (::access(kHostBundleKey, F_OK) == 0) return {kHostBundleKey};
    throw Failure{Code::Bundle, "no key says whose bundles this host launches",
                  fmt::format("neither --bundle-key is given, nor is there a {}", kHostBundleKey),
                  "give the public key of whoever signs them: --bundle-key FILE.pem"};
}

Bundle open_bundle(const std::string& directory, const std::vector<std::string>& keys) {
    Bundle bundle{.directory = directory,
                  .manifest_text = read_bundle_file(directory, kManifestFile, attest::kMaxManifest),
                  .manifest = {},
                  .signer = {}};
    const std::string signature = read_bundle_file(directory, kSignatureFile, kMaxSignature);
    const auto bytes = [](const std::string& text) { return std::as_bytes(std::span{text}); };
    for (const std::string& path : keys) {
        auto key = read_public_key(path, KeyKind::Ed25519OrP256);
        if (!is_signed_by(key, bytes(bundle.manifest_text), bytes(signature))) continue;
        auto manifest = attest::parse_manifest(bytes(bundle.manifest_text));
        if (!manifest) unusable(directory, reason_of(manifest.error()), "ask whoever signed it");
        bundle.manifest = std::move(*manifest);
        bundle.signer = std::move(key);
        return bundle;
    }
    unusable(directory, fmt::format("its manifest is signed by none of: {}", fmt::join(keys, ", ")),
             "give the key of whoever signed it with --bundle-key, or take another bundle");
}

Result<UniqueFd> copy_if_signed(const UniqueFd& file, const attest::BundleFile& expected) {
    if (!file) return os_error("open");
    if (HF_TRY(file_size(file)) != expected.size || expected.size == 0) {
        return input_error("it is not the file that was signed");
    }
    UniqueFd sealed = HF_TRY(sealed_memfd("holdfast-bundle", expected.size));
    const Mapping memory = HF_TRY(Mapping::shared(sealed, expected.size));
    Sha256 hash;
    constexpr std::size_t kPart = 256 << 10;  // stays in the cache from the copy to the hash
    for (std::uint64_t at = 0; at < expected.size; at += kPart) {
        const auto part = memory.bytes().subspan(at, std::min<std::uint64_t>(kPart, expected.size - at));
        HF_TRY(pread_exact(file, part, at));
        hash.update(part);
    }
    if (hash.finish() != expected.sha256) return input_error("it is not the file that was signed");
    return sealed;
}

}  // namespace

std::string read_bundle_file(const std::string& directory, const char* name, std::size_t most) {
    auto text = read_text(directory + '/' + name, most);
    if (text) return std::move(*text);
    unusable(directory, fmt::format("{}: {}", name, text.error()),
             "holdfast bundle create makes one, holdfast bundle sign signs it");
}

std::optional<Bundle> take_bundle(Settings& flags, Settings& file) {
    const auto given = flags.extract("bundle");
    const auto written = file.extract("bundle");
    if (!given && !written) {
        if (!flags.contains("bundle-key") && !file.contains("bundle-key")) return {};
        throw Failure{Code::Usage, "--bundle-key is given without --bundle", "there is nothing that it signs",
                      "add --bundle DIR, or leave it out"};
    }
    const std::string directory = (given ? given : written).mapped().back();
    Bundle bundle = open_bundle(directory, trusted_keys(flags, file));
    for (const auto* settings : {&flags, &file}) check_said(*settings, bundle.manifest);
    for (const auto& [name, value] : bundle.manifest.settings) {
        if (std::ranges::find(kDecided, name) == kDecided.end()) {
            unusable(directory,
                     fmt::format("its manifest decides '{}', which no bundle can", printable(name)),
                     "ask whoever signed it");
        }
        flags[name] = {value};
    }
    if (bundle.manifest.kernel) flags["kernel"] = {directory + '/' + kKernelFile};
    if (bundle.manifest.initrd) flags["initrd"] = {directory + '/' + kInitrdFile};
    return bundle;
}

void hold_to_bundle(Shape& shape, Bundle bundle) {
    const std::string text = vmm::shape_text(launch_config(shape));
    if (text != bundle.manifest.shape) {
        throw Failure{
            Code::BundleDecides, "the VM would not be of the shape that its bundle was signed for",
            fmt::format("signed: {}; it would be: {}", one_line(bundle.manifest.shape), one_line(text)),
            "give disks, net and vsock as the bundle has them: holdfast bundle inspect"};
    }
    shape.bundle = std::make_shared<const Bundle>(std::move(bundle));
}

UniqueFd open_signed_file(const Bundle& bundle, const char* name, const attest::BundleFile& expected) {
    const std::string path = bundle.directory + '/' + name;
    const UniqueFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    auto copy = copy_if_signed(file, expected);
    if (copy) return std::move(*copy);
    unusable(bundle.directory, fmt::format("{}: {}", name, reason_of(copy.error())),
             "take the bundle from whoever signed it once more");
}

std::map<std::string, std::string> settings_of(const Shape& shape) {
    std::map<std::string, std::string> out{
        {"memory", fmt::to_string(shape.memory_bytes)},
        {"cpus", fmt::to_string(shape.cpus)},
        {"cmdline", shape.cmdline},
        {"memory-encryption", std::string{memcrypt::tier_name(shape.tier)}},
        {"vtpm", !shape.vtpm         ? "off"
                 : shape.vtpm_strict ? "strict"
                                     : "on"},
        {"console", shape.console == ConsoleKind::Serial ? "serial" : "virtio"}};
    if (shape.builtin) out.emplace("builtin", "true");
    if (shape.tier == memcrypt::Tier::Software) {
        const auto after = shape.software.seal_after.count();
        out.emplace("clear-window", fmt::to_string(shape.software.window_bytes));
        out.emplace("seal-after", after == 0 ? "off" : fmt::format("{}ms", after));
        out.emplace("memory-cipher", std::string{memcrypt::suite_name(shape.software.suite)});
    }
    return out;
}

}  // namespace holdfast::cli
