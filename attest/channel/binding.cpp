// SPDX-License-Identifier: Apache-2.0
#include "attest/channel/binding.hpp"

namespace holdfast::attest {
namespace {

constexpr std::string_view kLabel{"holdfast channel binding 1\0", 27};
// A key that is longer is no key of ours, whose DER has 91 bytes (P-256).
constexpr std::size_t kMaxKey = 1024;

Digest256 hash_of(std::span<const std::byte> bytes) {
    Sha256 hash;
    hash.update(bytes);
    return hash.finish();
}

bool is_key(std::span<const std::byte> key) { return !key.empty() && key.size() <= kMaxKey; }

}  // namespace

Result<Digest256> channel_binding(const ChannelBinding& binding) {
    if (binding.role != ChannelRole::Client && binding.role != ChannelRole::Server) {
        return input_error("channel binding: role");
    }
    if (binding.nonce.size() < kMinChallenge || binding.nonce.size() > kMaxChallenge) {
        return input_error("channel binding: size of the nonce");
    }
    if (binding.exporter.size() != kExporterBytes)
        return input_error("channel binding: size of the exporter");
    if (!is_key(binding.own_key) || !is_key(binding.peer_key)) return input_error("channel binding: key");

    const auto role = static_cast<std::byte>(binding.role);
    Sha256 whole;
    whole.update(std::as_bytes(std::span{kLabel}));
    whole.update(std::span{&role, 1});
    whole.update(hash_of(binding.nonce));
    whole.update(binding.exporter);
    whole.update(hash_of(binding.own_key));
    whole.update(hash_of(binding.peer_key));
    whole.update(hash_of(binding.context));
    return whole.finish();
}

}  // namespace holdfast::attest
