// SPDX-License-Identifier: Apache-2.0
#include "vtpm/anchor/evidence.hpp"

#include <bit>

#include "sys/wire/codec.hpp"
#include "vtpm/anchor/hash.hpp"

namespace holdfast::anchor {
namespace {

constexpr std::string_view kStatementMagic = "HFS1";
constexpr std::string_view kBundleMagic = "HFE1";
constexpr std::array kLeafTag{std::byte{0}};
constexpr std::array kNodeTag{std::byte{1}};

void put_path(WireWriter& writer, std::span<const Digest> path) {
    writer.put(static_cast<std::uint32_t>(path.size()));
    for (const Digest& each : path) writer.put_bytes(each);
}

}  // namespace

std::vector<std::byte> encode(const Statement& statement) {
    WireWriter writer;
    writer.put_string(kStatementMagic);
    writer.put_bytes(statement.root);
    writer.put(statement.o);
    writer.put(statement.s);
    writer.put(statement.reset_count);
    writer.put_bytes(statement.anchor);
    writer.put(static_cast<std::uint8_t>(statement.software_tpm));
    writer.put_bytes(statement.nonces);
    return {writer.bytes().begin(), writer.bytes().end()};
}

NonceTree::NonceTree(std::span<const Digest> nonces) : nodes_(2 * std::bit_ceil(nonces.size())) {
    const std::size_t start = nodes_.size() / 2;
    for (std::size_t i = 0; i < nonces.size(); ++i) nodes_[start + i] = sha256({kLeafTag, nonces[i]});
    for (std::size_t at = start - 1; at > 0; --at)
        nodes_[at] = sha256({kNodeTag, nodes_[2 * at], nodes_[2 * at + 1]});
}

std::vector<Digest> NonceTree::path(std::size_t index) const {
    std::vector<Digest> siblings;
    for (std::size_t at = nodes_.size() / 2 + index; at > 1; at /= 2) siblings.push_back(nodes_[at ^ 1U]);
    return siblings;
}

std::vector<std::byte> encode(const EvidenceParts& parts) {
    WireWriter writer;
    writer.put_string(kBundleMagic);
    writer.put_bytes(encode(parts.statement));
    for (const Certified* each : {&parts.certificate.o, &parts.certificate.s}) {
        writer.put_bytes(each->attest);
        writer.put_bytes(each->signature);
    }
    writer.put_bytes(parts.attestation_public);
    writer.put_bytes(encode(parts.leaf));
    writer.put(parts.proof.slot);
    put_path(writer, parts.proof.path);
    writer.put(parts.nonce_index);
    put_path(writer, parts.nonce_path);
    return {writer.bytes().begin(), writer.bytes().end()};
}

}  // namespace holdfast::anchor
