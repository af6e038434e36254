// SPDX-License-Identifier: Apache-2.0
// Bundles: a directory with a signed manifest, its signature, a kernel and an initrd (docs/bundles.md).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "attest/bundle/manifest.hpp"
#include "cli/shape.hpp"
#include "sys/fd.hpp"

namespace holdfast::cli {

inline constexpr const char* kManifestFile = "manifest.json";
inline constexpr const char* kSignatureFile = "manifest.sig";
inline constexpr const char* kKernelFile = "kernel";
inline constexpr const char* kInitrdFile = "initrd";
/// Whose bundles this host launches when no --bundle-key says so.
inline constexpr const char* kHostBundleKey = "/etc/holdfast/bundle.pub";

/// One of which a trusted key has signed the manifest.
struct Bundle {
    std::string directory;
    std::string manifest_text;  ///< as it was signed
    attest::BundleManifest manifest;
    std::vector<std::byte> signer;  ///< SubjectPublicKeyInfo in DER
};

/// A file of a bundle, or HF-0212.
[[nodiscard]] std::string read_bundle_file(const std::string& directory, const char* name, std::size_t most);

/// If the settings name a bundle, takes it and its keys out of them and puts what it decides in. What is
/// said beside it must not be said otherwise (HF-0214). Throws HF-0212 where no trusted key has signed it.
[[nodiscard]] std::optional<Bundle> take_bundle(Settings& flags, Settings& file);
/// Makes `shape` one of this bundle. Throws HF-0214 if the VM would be of another shape than was signed.
void hold_to_bundle(Shape& shape, Bundle bundle);

/// A copy of the file that nobody else can change, once it is known to be the one that was signed. Throws
/// HF-0212.
[[nodiscard]] UniqueFd open_signed_file(const Bundle& bundle, const char* name,
                                        const attest::BundleFile& expected);

/// Tells this host's anchor that the bundle is about to be launched. Throws HF-0213 if a newer one was.
/// Without an anchor on this host, says what that means, on standard error.
void note_launch(const Bundle& bundle, const std::string& state_dir);

/// The settings that a VM of this shape is launched with, as a manifest holds them.
[[nodiscard]] std::map<std::string, std::string> settings_of(const Shape& shape);

}  // namespace holdfast::cli
