// SPDX-License-Identifier: Apache-2.0
// What `holdfast broker` holds, and for whom (docs/broker.md).
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "attest/policy/policy.hpp"
#include "cli/policy_files.hpp"
#include "sys/secret.hpp"

namespace holdfast::cli {

struct BrokerSecret {
    SecretBytes bytes;
    attest::Policy policy;
    PolicyFiles files;
};

struct BrokerConfig {
    std::string certificate;  ///< files, in PEM
    std::string key;
    std::chrono::seconds challenge_age{60};  ///< for so long a challenge can be answered
    std::map<std::string, BrokerSecret, std::less<>> secrets;
};

/// Files are found from where `path` lies. Each secret's policy is made to demand that the guest itself asked
/// for its vTPM's quote. Throws HF-0110 and what read_policy() throws.
[[nodiscard]] BrokerConfig read_broker_config(const std::string& path);

}  // namespace holdfast::cli
