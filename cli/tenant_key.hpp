// SPDX-License-Identifier: Apache-2.0
// A tenant's public key in a PEM file: whoever holds its private part may re-anchor a vTPM.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace holdfast::cli {

/// SubjectPublicKeyInfo in DER. Throws HF-0104: no such file, or neither an Ed25519 nor a P-256 key.
[[nodiscard]] std::vector<std::byte> read_tenant_key(const std::string& path);

}  // namespace holdfast::cli
