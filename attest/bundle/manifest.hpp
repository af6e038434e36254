// SPDX-License-Identifier: Apache-2.0
// The signed manifest of a bundle: which kernel, initrd and command line, in which shape of VM, and how new
// this is (docs/bundles.md has the format).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "sys/result.hpp"
#include "sys/sha2.hpp"

namespace holdfast::attest {

inline constexpr std::size_t kMaxManifest = 16U << 10;  ///< bytes
inline constexpr std::size_t kMaxBundleName = 40;       ///< characters

struct BundleFile {
    std::uint64_t size = 0;  ///< bytes
    Digest256 sha256{};
};

struct BundleManifest {
    std::string name;
    /// Raised by whoever signs, when an older bundle of that name must not be launched any more.
    std::uint64_t security_version = 0;
    std::optional<BundleFile> kernel;  ///< none: the built-in guest
    std::optional<BundleFile> initrd;
    /// What `holdfast run` is to be given, by the names of its flags.
    std::map<std::string, std::string> settings;
    std::string shape;  ///< of the VM, as it is measured (docs/launch_digest.md)
};

/// Of bytes that a trusted key has signed (is_signed_by() goes first), or for whoever shows them and says
/// that nobody has vouched for them. Input error: why they are no manifest.
Result<BundleManifest> parse_manifest(std::span<const std::byte> manifest);

}  // namespace holdfast::attest
