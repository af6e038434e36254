// SPDX-License-Identifier: Apache-2.0
#include "vtpm/anchor/leaf.hpp"

#include <bit>

#include "sys/wire/endian.hpp"

namespace holdfast::anchor {
namespace {

namespace wire {
struct Leaf {
    VmId vm;
    Le<std::uint64_t> version;
    Digest permanent;
    Digest volatile_state;
    std::uint8_t status;
    InstanceId instance;
    Le<std::uint32_t> gaps;
    Le<std::uint32_t> generation;
    Digest tenant;
};
static_assert(sizeof(Leaf) == kLeafBytes && alignof(Leaf) == 1);
}  // namespace wire

}  // namespace

LeafBytes encode(const Leaf& leaf) noexcept {
    const wire::Leaf raw{.vm = leaf.vm,
                         .version = leaf.version,
                         .permanent = leaf.permanent,
                         .volatile_state = leaf.volatile_state,
                         .status = static_cast<std::uint8_t>(leaf.status),
                         .instance = leaf.instance,
                         .gaps = leaf.gaps,
                         .generation = leaf.generation,
                         .tenant = leaf.tenant};
    return std::bit_cast<LeafBytes>(raw);
}

Result<Leaf> decode_leaf(const LeafBytes& bytes) {
    const auto raw = std::bit_cast<wire::Leaf>(bytes);
    if (raw.status < static_cast<std::uint8_t>(Status::Stopped) ||
        raw.status > static_cast<std::uint8_t>(Status::Bundle)) {
        return peer_fault("leaf has an unknown status");
    }
    return Leaf{.vm = raw.vm,
                .version = raw.version.get(),
                .permanent = raw.permanent,
                .volatile_state = raw.volatile_state,
                .status = static_cast<Status>(raw.status),
                .instance = raw.instance,
                .gaps = raw.gaps.get(),
                .generation = raw.generation.get(),
                .tenant = raw.tenant};
}

}  // namespace holdfast::anchor
