// SPDX-License-Identifier: Apache-2.0
#include "vtpm/anchor/record.hpp"

#include <algorithm>
#include <cstring>

#include "sys/secret.hpp"
#include "sys/wire/codec.hpp"
#include "vtpm/anchor/hash.hpp"

namespace holdfast::anchor {
namespace {

constexpr std::uint32_t kMagic = 0x31524648;  // "HFR1"
constexpr std::size_t kMacBytes = sizeof(Digest);

namespace wire {
struct Header {
    Le<std::uint32_t> magic;
    Le<std::uint32_t> size;  ///< of the whole record, MAC included
    std::uint8_t kind;
    std::uint8_t whole;
    Le<std::uint64_t> o;
    Le<std::uint64_t> s;
    Le<std::uint32_t> reset_count;
    InstanceId anchor;
    Digest previous;
    Digest root;
    Le<std::uint32_t> leaves;
};
struct SlotLeaf {
    Le<std::uint32_t> slot;
    LeafBytes leaf;
};
static_assert(sizeof(Header) == 114 && alignof(Header) == 1);
static_assert(sizeof(SlotLeaf) == 4 + kLeafBytes && alignof(SlotLeaf) == 1);
}  // namespace wire

constexpr std::size_t record_size(std::size_t leaves) {
    return sizeof(wire::Header) + leaves * sizeof(wire::SlotLeaf) + kMacBytes;
}
static_assert(record_size(kMaxSlots) < UINT32_MAX);

template <typename T>
T take(std::span<const std::byte>& from) {
    T value;
    std::memcpy(&value, from.data(), sizeof value);
    from = from.subspan(sizeof value);
    return value;
}

}  // namespace

std::vector<std::byte> encode(const Record& record, std::span<const std::byte> key) {
    const std::size_t size = record_size(record.leaves.size());
    const wire::Header header{.magic = kMagic,
                              .size = static_cast<std::uint32_t>(size),
                              .kind = static_cast<std::uint8_t>(record.kind),
                              .whole = static_cast<std::uint8_t>(record.whole),
                              .o = record.o,
                              .s = record.s,
                              .reset_count = record.reset_count,
                              .anchor = record.anchor,
                              .previous = record.previous,
                              .root = record.root,
                              .leaves = static_cast<std::uint32_t>(record.leaves.size())};
    std::vector<std::byte> out;
    out.reserve(size);
    const auto append = [&](const auto& part) {
        const auto bytes = std::as_bytes(std::span{&part, 1});
        out.insert(out.end(), bytes.begin(), bytes.end());
    };
    append(header);
    for (const SlotLeaf& each : record.leaves) append(wire::SlotLeaf{each.slot, encode(each.leaf)});
    append(hmac_sha256(key, {out}));
    return out;
}

Result<Decoded> decode_record(std::span<const std::byte> log, std::span<const std::byte> key) {
    if (log.size() < record_size(0)) return peer_fault("log ends before a record");
    std::span rest = log;
    const auto header = take<wire::Header>(rest);
    const std::size_t size = header.size.get();
    if (header.magic.get() != kMagic) return peer_fault("no record here");
    if (size > log.size() || size < record_size(0)) return peer_fault("record is cut off");
    const auto body = log.first(size - kMacBytes);
    if (!equal_constant_time(hmac_sha256(key, {body}), log.subspan(body.size(), kMacBytes))) {
        return peer_fault("record does not authenticate");
    }
    // From here on our own writing, of this or an earlier version; still judged field by field.
    const std::size_t leaves = header.leaves.get();
    if (leaves > kMaxSlots || size != record_size(leaves)) return peer_fault("record of another size");
    if (header.kind != 1 && header.kind != 2) return peer_fault("record of an unknown kind");
    Decoded decoded{.record = {.kind = static_cast<RecordKind>(header.kind),
                               .whole = header.whole != 0,
                               .o = header.o.get(),
                               .s = header.s.get(),
                               .reset_count = header.reset_count.get(),
                               .anchor = header.anchor,
                               .previous = header.previous,
                               .root = header.root,
                               .leaves = {}},
                    .bytes = size,
                    .hash = sha256({log.first(size)})};
    decoded.record.leaves.reserve(leaves);
    for (std::size_t i = 0; i < leaves; ++i) {
        const auto raw = take<wire::SlotLeaf>(rest);
        if (raw.slot.get() >= kMaxSlots) return peer_fault("slot beyond the tree");
        decoded.record.leaves.push_back({raw.slot.get(), HF_TRY(decode_leaf(raw.leaf))});
    }
    return decoded;
}

}  // namespace holdfast::anchor
