// SPDX-License-Identifier: Apache-2.0
// Re-anchoring: a vTPM's tenant accepts a state that is not the newest, by signing this statement. The whole
// leaf that it replaces is in it, generation included, so each signature works once; and so is the anchor,
// so it works on one host. docs/anchor.md, "When a state is lost", has the layout.
#pragma once

#include <vector>

#include "vtpm/anchor/protocol.hpp"

namespace holdfast::anchor {

/// `anchor` is the SHA-256 of its attestation key's TPM2B_PUBLIC.
[[nodiscard]] std::vector<std::byte> reanchor_statement(const Digest& anchor, const Leaf& replaced,
                                                        const State& accepted);
/// The leaf that comes in its place.
[[nodiscard]] Leaf reanchored(const Leaf& replaced, const State& accepted) noexcept;

}  // namespace holdfast::anchor
