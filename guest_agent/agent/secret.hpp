// SPDX-License-Identifier: Apache-2.0
// A secret from the broker that this image trusts: the way through the host, TLS, and this guest's evidence.
#pragma once

#include <span>
#include <string_view>

#include "guest_agent/agent/config.hpp"
#include "guest_agent/crypto/key.hpp"

namespace holdfast::agent {

Result<SecretBuffer> fetch_secret(const Config& config, std::string_view name);

/// `holdfast-agent secret get NAME >SECRET`: by /etc/holdfast/agent.conf.
Result<void> secret_verb(std::span<char*> words);

}  // namespace holdfast::agent
