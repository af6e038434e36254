// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/group/schedule.hpp"

#include "guest_agent/crypto/kdf.hpp"
#include "sys/wire/endian.hpp"

namespace holdfast::agent::group {
namespace {

constexpr std::string_view kLabel = "holdfast group keys 1";

Bytes bytes_of(const Le<std::uint64_t>& number) { return std::as_bytes(std::span{&number, 1}); }

}  // namespace

Key joiner_secret(const Key& chain, const Key& commit_secret) {
    return hkdf_extract(chain.bytes(), {commit_secret.bytes()});
}

EpochKeys epoch_keys(const Key& joiner, const GroupId& group, std::uint64_t epoch,
                     const Digest256& transcript, const Digest256& roster) {
    const Le<std::uint64_t> number{epoch};
    const Digest256 context = hash_parts({text(kLabel), group, bytes_of(number), transcript, roster});
    const auto key_for = [&](std::string_view what) {
        return hkdf_expand_key(joiner, {text(kLabel), text(what), context});
    };
    return {.chain = key_for(" chain "),
            .message = key_for(" message "),
            .exports = key_for(" exports "),
            .confirm = key_for(" confirm ")};
}

EpochKeys first_keys(const GroupId& group, const Digest256& transcript, const Digest256& roster) {
    return epoch_keys(random_key(), group, 0, transcript, roster);
}

Digest256 first_transcript(const GroupId& group, const Digest256& policy) {
    return hash_parts({text(kLabel), text("transcript"), group, policy});
}

Digest256 next_transcript(const Digest256& transcript, Bytes commit_content) {
    return hash_parts({text(kLabel), text("transcript"), transcript, commit_content});
}

Digest256 confirmation_of(const EpochKeys& keys, const Digest256& transcript) {
    return hmac(keys.confirm.bytes(), {transcript});
}

Key message_key(const EpochKeys& keys, MemberId sender) {
    const Le<std::uint64_t> number{sender};
    return hkdf_expand_key(keys.message, {text(kLabel), text(" sender "), bytes_of(number)});
}

}  // namespace holdfast::agent::group
