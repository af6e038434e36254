// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/secret.hpp"

#include <algorithm>

#include "guest_agent/agent/broker.hpp"
#include "guest_agent/agent/evidence.hpp"
#include "guest_agent/agent/stdio.hpp"
#include "guest_agent/agent/vsock.hpp"
#include "guest_agent/call/services.hpp"

namespace holdfast::agent {
namespace {

constexpr std::chrono::seconds kPatience{120};  // as long as the broker gives a guest

bool is_trusted(Bytes key, const Config& config) {
    Sha256 hash;
    hash.update(key);
    return std::ranges::find(config.broker_keys, hash.finish()) != config.broker_keys.end();
}

}  // namespace

Result<SecretBuffer> fetch_secret(const Config& config, std::string_view name) {
    // Any other server, the host's own most of all, would do without it.
    if (config.broker_keys.empty()) return input_error("agent.conf has no broker-key: no broker is trusted");
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    const auto own = HF_TRY(channel::TlsIdentity::create());
    UniqueFd way = HF_TRY(connect_host(call::kBrokerPort));
    auto broker = HF_TRY(channel::TlsStream::connect(std::move(way), own, std::nullopt, deadline));
    if (!is_trusted(broker.peer_key(), config)) {
        return peer_fault("the broker has a key that agent.conf does not name: somebody else answers");
    }
    return ask_broker(broker, own, name, make_evidence, deadline);
}

Result<void> secret_verb(std::span<char*> words) {
    if (words.size() != 2 || std::string_view{words[0]} != "get") {
        return input_error("usage: holdfast-agent secret get NAME");
    }
    const Config config = HF_TRY(read_config());
    const SecretBuffer secret = HF_TRY(fetch_secret(config, words[1]));
    return write_output(secret.bytes());
}

}  // namespace holdfast::agent
