// SPDX-License-Identifier: Apache-2.0
// Keys and signatures that an operator or a tenant made with openssl, from files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::cli {

enum class KeyKind : std::uint8_t { P256, Ed25519OrP256 };

/// SubjectPublicKeyInfo in DER, from PEM. Throws HF-0104: no such file, or a key of another kind.
[[nodiscard]] std::vector<std::byte> read_public_key(const std::string& path, KeyKind kind);
/// At most as long as one of those keys makes. Throws HF-0104.
[[nodiscard]] std::vector<std::byte> read_signature(const std::string& path);

/// A signature of `text` (sys/signed.hpp), with the private key in that file. Throws HF-0104.
[[nodiscard]] std::string sign_with(const std::string& key_path, std::string_view text);

}  // namespace holdfast::cli
