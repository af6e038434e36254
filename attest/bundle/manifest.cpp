// SPDX-License-Identifier: Apache-2.0
#include "attest/bundle/manifest.hpp"

#include <algorithm>
#include <array>

#include "attest/text/encoding.hpp"
#include "attest/text/json.hpp"

namespace holdfast::attest {
namespace {

constexpr std::uint64_t kFormat = 1;

Result<std::uint64_t> number_at(JsonValue object, std::string_view name) {
    const auto value = HF_TRY(object.at(name));
    return value.number();
}

/// A member nobody knows might have been meant to forbid something.
Result<void> expect_known(JsonValue object, std::span<const std::string_view> known) {
    const auto names = HF_TRY(object.names());
    for (const std::string_view name : names) {
        if (std::ranges::find(known, name) == known.end()) {
            return input_error("the manifest has a member that this version does not know");
        }
    }
    return {};
}

Result<std::optional<BundleFile>> get_file(const JsonValue& root, std::string_view name) {
    const auto value = root.find(name);
    if (!value) return std::optional<BundleFile>{};
    HF_TRY(expect_known(*value, std::array<std::string_view, 2>{"size", "sha256"}));
    BundleFile file{.size = HF_TRY(number_at(*value, "size")), .sha256 = {}};
    const std::string hex = HF_TRY(string_at(*value, "sha256"));
    const auto digest = HF_TRY(bytes_of_hex(hex));
    if (digest.size() != file.sha256.size()) return input_error("a digest in the manifest is not a SHA-256");
    std::ranges::copy(digest, file.sha256.begin());
    return std::optional{file};
}

}  // namespace

Result<BundleManifest> parse_manifest(std::span<const std::byte> manifest) {
    if (manifest.size() > kMaxManifest) return input_error("the manifest is larger than 16 KiB");
    const auto document = HF_TRY(JsonDocument::parse(text_of(manifest)));
    const JsonValue root = document.root();
    if (HF_TRY(number_at(root, "holdfast_bundle")) != kFormat) {
        return input_error("the manifest is of another version of the format");
    }
    constexpr std::array<std::string_view, 7> kMembers{
        "holdfast_bundle", "name", "security_version", "kernel", "initrd", "settings", "shape"};
    HF_TRY(expect_known(root, kMembers));
    BundleManifest out;
    out.name = HF_TRY(string_at(root, "name"));
    if (out.name.empty() || out.name.size() > kMaxBundleName) {
        return input_error("the name in the manifest is empty or too long");
    }
    out.security_version = HF_TRY(number_at(root, "security_version"));
    out.kernel = HF_TRY(get_file(root, "kernel"));
    out.initrd = HF_TRY(get_file(root, "initrd"));
    const JsonValue settings = HF_TRY(root.at("settings"));
    const auto names = HF_TRY(settings.names());
    for (const std::string_view name : names) {
        out.settings.emplace(name, HF_TRY(string_at(settings, name)));
    }
    out.shape = HF_TRY(string_at(root, "shape"));
    return out;
}

}  // namespace holdfast::attest
