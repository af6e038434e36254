// SPDX-License-Identifier: Apache-2.0
// holdfast bundle create, sign and inspect.
#include <filesystem>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "cli/bundle.hpp"
#include "cli/error.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/resources.hpp"
#include "cli/signing.hpp"
#include "sys/signed.hpp"
#include "vmm/guest_load.hpp"

namespace holdfast::cli {
namespace {

using nlohmann::ordered_json;

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span{text}); }

[[noreturn]] void not_made(const std::string& path, const Error& error, std::string fix) {
    throw Failure{Code::Bundle, fmt::format("'{}' cannot be made", printable(path)), reason_of(error),
                  std::move(fix)};
}

/// A directory that is removed with all that it holds, unless it is kept.
class NewDirectory {
public:
    explicit NewDirectory(std::string path) : path_{std::move(path)} {
        if (::mkdir(path_.c_str(), 0755) < 0) {
            not_made(path_, os_error("mkdir"), "give --out a directory that does not exist yet");
        }
    }
    ~NewDirectory() {
        std::error_code ignored;
        if (!kept_) std::filesystem::remove_all(path_, ignored);
    }
    NewDirectory(const NewDirectory&) = delete;
    NewDirectory& operator=(const NewDirectory&) = delete;
    void keep() noexcept { kept_ = true; }
    /// A new file in it, all of it at once.
    void write(const char* name, std::span<const std::byte> bytes) const {
        const std::string path = path_ + '/' + name;
        const UniqueFd fd{::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644)};
        const auto written = fd ? write_all(fd, bytes) : os_error("open");
        if (!written) not_made(path, written.error(), "see what the disk has left");
    }

private:
    std::string path_;
    bool kept_ = false;
};

/// Copies a boot file, and says what of it is signed.
ordered_json take_file(const NewDirectory& directory, const char* name, const UniqueFd& file) {
    const std::uint64_t size = expect(file_size(file));
    std::vector<std::byte> bytes(size);
    expect(pread_exact(file, bytes, 0));
    directory.write(name, bytes);
    Sha256 hash;
    hash.update(bytes);
    return {{"size", size}, {"sha256", hex(hash.finish())}};
}

int create_bundle(const BundleOptions& options) {
    const Settings none;
    const Shape shape = resolve(options.settings, none);
    if (!options.settings.contains("name") || options.out.empty()) {
        throw Failure{Code::Usage, "a bundle needs a name and a place",
                      "the name is what tells newer from older ones of it",
                      "holdfast bundle create NAME --out DIR --security-version N --kernel FILE"};
    }
    if (!shape.vtpm_socket.empty()) {
        throw Failure{Code::Value, "a bundle cannot name the socket of a TPM", "that is the host's affair",
                      "sign --vtpm on or --vtpm strict"};
    }
    NewDirectory directory{options.out};
    ordered_json manifest{
        {"holdfast_bundle", 1}, {"name", shape.name}, {"security_version", options.security_version}};
    if (!shape.builtin) manifest["kernel"] = take_file(directory, kKernelFile, open_kernel(shape));
    if (!shape.initrd.empty()) manifest["initrd"] = take_file(directory, kInitrdFile, open_initrd(shape));
    manifest["settings"] = settings_of(shape);
    manifest["shape"] = vmm::shape_text(launch_config(shape));
    const std::string text = manifest.dump(2) + '\n';
    // What cannot be read again must not be signed.
    if (const auto again = attest::parse_manifest(bytes_of(text)); !again) {
        throw Failure{Code::Bundle, "this shape cannot be put into a manifest", reason_of(again.error()),
                      "look for control characters in --cmdline"};
    }
    directory.write(kManifestFile, bytes_of(text));
    directory.keep();
    print("{}: bundle {} with security version {}, not signed yet: holdfast bundle sign {} --key FILE.pem\n",
          printable(options.out), shape.name, options.security_version, printable(options.out));
    return 0;
}

int sign_bundle(const BundleOptions& options) {
    if (options.key.empty()) {
        throw Failure{Code::Usage, "sign wants a key", "--key is missing",
                      "holdfast bundle sign DIR --key FILE.pem"};
    }
    const std::string text = read_bundle_file(options.directory, kManifestFile, attest::kMaxManifest);
    if (const auto manifest = attest::parse_manifest(bytes_of(text)); !manifest) {
        throw Failure{Code::Bundle, "this manifest is not signed: it could not be launched",
                      reason_of(manifest.error()), "make the bundle once more with holdfast bundle create"};
    }
    const std::string signature = sign_with(options.key, text);
    const std::string path = options.directory + '/' + kSignatureFile;
    const std::string fresh = path + ".new";
    const UniqueFd fd{::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
    const auto written = fd ? write_all(fd, bytes_of(signature)) : os_error("open");
    if (!written || ::rename(fresh.c_str(), path.c_str()) < 0) {
        not_made(path, written ? os_error("rename") : written.error(), "see what the disk has left");
    }
    print("{}: signed\n", printable(options.directory));
    return 0;
}

int inspect_bundle(const BundleOptions& options) {
    const std::string text = read_bundle_file(options.directory, kManifestFile, attest::kMaxManifest);
    std::string trust = "checked with no key: give --bundle-key FILE.pem";
    bool is_signed = false;
    if (!options.keys.empty()) {
        const std::string signature = read_bundle_file(options.directory, kSignatureFile, kMaxSignature);
        for (const std::string& path : options.keys) {
            const auto key = read_public_key(path, KeyKind::Ed25519OrP256);
            if (!is_signed_by(key, bytes_of(text), bytes_of(signature))) continue;
            is_signed = true;
            trust = "signed by " + path;
        }
        if (!is_signed) trust = "NOT signed by the key given: trust nothing below";
    }
    const auto manifest = attest::parse_manifest(bytes_of(text));
    if (!manifest) {
        throw Failure{Code::Bundle,
                      fmt::format("the bundle '{}' cannot be used", printable(options.directory)),
                      reason_of(manifest.error()), "take another bundle"};
    }
    const std::string digest = hex(sha384(bytes_of(text)));
    const int status = options.keys.empty() || is_signed ? 0 : kExitFailure;
    if (options.json) {
        ordered_json json = ordered_json::parse(text);
        json["digest"] = digest;
        json["signed"] = options.keys.empty() ? ordered_json{} : ordered_json(is_signed);
        print("{}\n", json.dump(2));
        return status;
    }
    print("{:<18}{}\n{:<18}{}\n{:<18}{}\n{:<18}{}\n", "bundle", printable(manifest->name), "security version",
          manifest->security_version, "signature", printable(trust), "digest", digest);
    const auto show = [](const char* name, const std::optional<attest::BundleFile>& file) {
        if (file) print("{:<18}sha256 {}, {}\n", name, hex(file->sha256), size_words(file->size));
    };
    show("kernel", manifest->kernel);
    show("initrd", manifest->initrd);
    for (const auto& [name, value] : manifest->settings)
        print("{:<18}{}\n", printable(name), printable(value));
    std::string_view rest = manifest->shape;
    for (const char* heading = "shape"; !rest.empty(); heading = "") {
        const std::size_t end = std::min(rest.find('\n'), rest.size());
        print("{:<18}{}\n", heading, printable(rest.substr(0, end)));
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return status;
}

}  // namespace

int run_bundle(const BundleOptions& options) {
    if (options.action == "create") return create_bundle(options);
    return options.action == "sign" ? sign_bundle(options) : inspect_bundle(options);
}

}  // namespace holdfast::cli
