// SPDX-License-Identifier: Apache-2.0
// What a guest gives its host to keep: sealed under a key that only guests hold, for one name and one
// version. A host that answers with another blob, an older one or a changed one is caught; one that answers
// nothing is a host that does not work. Its length and its name it sees.
#pragma once

#include <string_view>
#include <vector>

#include "guest_agent/crypto/key.hpp"
#include "sys/result.hpp"

namespace holdfast::agent::call {

inline constexpr std::size_t kMaxBlob = (1U << 20) - 4096;  ///< bytes of plaintext: one frame carries it
inline constexpr std::size_t kMaxBlobName = 128;

[[nodiscard]] Result<std::vector<std::byte>> seal_blob(const Key& key, std::string_view name,
                                                       std::uint64_t version, Bytes plain);

struct Blob {
    std::uint64_t version = 0;
    SecretBuffer plain;
};
/// `oldest`: the newest version that the caller knows of; below it is a rollback. Errors are Peer errors.
[[nodiscard]] Result<Blob> open_blob(const Key& key, std::string_view name, std::uint64_t oldest,
                                     Bytes sealed);

}  // namespace holdfast::agent::call
