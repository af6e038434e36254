// SPDX-License-Identifier: Apache-2.0
// One entry of the anchor's log: what changed, the root after it, and the counter value that makes it
// the newest. Authenticated with the anchor's key and chained to the record before it.
#pragma once

#include <span>
#include <vector>

#include "vtpm/anchor/merkle.hpp"

namespace holdfast::anchor {

enum class RecordKind : std::uint8_t {
    Commit = 1,
    Checkpoint,  ///< names a value of S too: what a power cut may fall back to
};

struct Record {
    RecordKind kind = RecordKind::Commit;
    bool whole = false;             ///< carries every leaf: the first record of a file
    std::uint64_t o = 0;            ///< counter O when it is the newest
    std::uint64_t s = 0;            ///< counter S likewise (a Commit leaves S as it is)
    std::uint32_t reset_count = 0;  ///< of the TPM when it was written
    InstanceId anchor{};            ///< who wrote it
    Digest previous{};              ///< SHA-256 of the encoded record before it; a whole one's: zero
    Digest root{};
    std::vector<SlotLeaf> leaves;
};

/// `key` is K_A. The last 32 bytes are the HMAC of all before them.
[[nodiscard]] std::vector<std::byte> encode(const Record& record, std::span<const std::byte> key);

/// The record at the front of `log`, and how many bytes it takes. Peer error: not a whole record, or
/// not one that this key has authenticated. Nothing is parsed before it is authenticated.
struct Decoded {
    Record record;
    std::size_t bytes = 0;
    Digest hash{};
};
Result<Decoded> decode_record(std::span<const std::byte> log, std::span<const std::byte> key);

}  // namespace holdfast::anchor
