// SPDX-License-Identifier: Apache-2.0
// The keys of an epoch, and how one epoch's follow from the last's. Secrets only ever go forward: from the
// keys of an epoch those before it cannot be computed, and those after it only with the secret of the commit
// between.
#pragma once

#include "guest_agent/crypto/keys.hpp"
#include "guest_agent/group/messages.hpp"

namespace holdfast::agent::group {

struct EpochKeys {
    Key chain;    ///< into the next epoch
    Key message;  ///< of application messages
    Key exports;  ///< of keys for others
    Key confirm;  ///< that all have the same
};

/// What whoever joins is told. `chain`: of the epoch that ends.
[[nodiscard]] Key joiner_secret(const Key& chain, const Key& commit_secret);
/// `transcript`, `roster`: of the new epoch. A member that has another view of either gets other keys.
[[nodiscard]] EpochKeys epoch_keys(const Key& joiner, const GroupId& group, std::uint64_t epoch,
                                   const Digest256& transcript, const Digest256& roster);
/// Of a group that has nobody but who made it.
[[nodiscard]] EpochKeys first_keys(const GroupId& group, const Digest256& transcript,
                                   const Digest256& roster);

[[nodiscard]] Digest256 first_transcript(const GroupId& group, const Digest256& policy);
[[nodiscard]] Digest256 next_transcript(const Digest256& transcript, Bytes commit_content);
[[nodiscard]] Digest256 confirmation_of(const EpochKeys& keys, const Digest256& transcript);
[[nodiscard]] Key message_key(const EpochKeys& keys, MemberId sender);

}  // namespace holdfast::agent::group
