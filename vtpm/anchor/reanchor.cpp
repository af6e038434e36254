// SPDX-License-Identifier: Apache-2.0
#include "vtpm/anchor/reanchor.hpp"

#include <array>

#include "sys/wire/endian.hpp"

namespace holdfast::anchor {
namespace {

struct Statement {
    std::array<char, 4> magic;
    Digest anchor;
    LeafBytes replaced;
    Le<std::uint64_t> version;
    Digest permanent;
};
static_assert(alignof(Statement) == 1 && sizeof(Statement) == 4 + 32 + kLeafBytes + 8 + 32);

}  // namespace

std::vector<std::byte> reanchor_statement(const Digest& anchor, const Leaf& replaced, const State& accepted) {
    const Statement statement{.magic = {'H', 'F', 'R', '1'},
                              .anchor = anchor,
                              .replaced = encode(replaced),
                              .version = accepted.version,
                              .permanent = accepted.permanent};
    const auto bytes = std::as_bytes(std::span{&statement, 1});
    return {bytes.begin(), bytes.end()};
}

Leaf reanchored(const Leaf& replaced, const State& accepted) noexcept {
    Leaf leaf = replaced;
    leaf.version = accepted.version;
    leaf.permanent = accepted.permanent;
    leaf.volatile_state = {};
    leaf.status = Status::Stopped;
    leaf.instance = {};
    ++leaf.generation;
    return leaf;
}

}  // namespace holdfast::anchor
