// SPDX-License-Identifier: Apache-2.0
// A verifier's own list of the hosts that it enrolled (`holdfast enroll accept`): which attestation key is in
// the TPM of which endorsement key.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace holdfast::cli {

struct EnrolledHost {
    std::string ek;  ///< SHA-256 of the endorsement key's SubjectPublicKeyInfo, in hexadecimal
    std::vector<std::byte> certificate;  ///< of the endorsement key, in DER; empty: none was shown
    std::string label;                   ///< what the verifier calls the host
};
/// By the attestation key's TPM name, in hexadecimal.
using EnrolledHosts = std::map<std::string, EnrolledHost>;

/// Throws HF-0108. `missing_is_empty`: for whoever adds the first one.
[[nodiscard]] EnrolledHosts read_enrolled(const std::string& path, bool missing_is_empty);
void write_enrolled(const std::string& path, const EnrolledHosts& hosts);

}  // namespace holdfast::cli
