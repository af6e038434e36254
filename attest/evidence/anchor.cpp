// SPDX-License-Identifier: Apache-2.0
#include "attest/evidence/anchor.hpp"

#include <algorithm>
#include <array>

#include "attest/formats/tpm/spec.hpp"
#include "attest/text/encoding.hpp"
#include "sys/wire/codec.hpp"
#include "vtpm/tpm2/codec.hpp"

namespace holdfast::attest {
namespace {

// docs/anchor.md: what the two counters are, and so what they are called.
constexpr std::uint32_t kIndexO = 0x01804860;
constexpr std::uint32_t kIndexS = 0x01804861;
constexpr std::uint32_t kAttributes = 1U << 2 | 1U << 17 | 1U << 18 |
                                      1U << 25 |  // AUTHWRITE, OWNERREAD, AUTHREAD, NO_DA
                                      tpm::nv::TYPE_COUNTER | tpm::nv::WRITTEN;
constexpr std::uint32_t CC_NV_ChangeAuth = 0x13b;
constexpr std::uint32_t CC_PolicyAuthValue = 0x16b;
constexpr std::uint32_t CC_PolicyCommandCode = 0x16c;
constexpr std::uint16_t kCounterBytes = 8;

constexpr std::size_t kLeafBytes = 145;
constexpr std::uint8_t kRunning = 2;
constexpr std::size_t kMaxPath = 32;

Digest256 sha256_of(std::initializer_list<Bytes> parts) {
    Sha256 hash;
    for (const Bytes part : parts) hash.update(part);
    return hash.finish();
}

/// PolicyAuthValue, then PolicyCommandCode(NV_ChangeAuth): only who knows a counter's authValue changes it.
Digest256 change_auth_policy() {
    tpm2::Writer auth_value;
    auth_value.put(CC_PolicyAuthValue);
    tpm2::Writer command;
    command.put(CC_PolicyCommandCode);
    command.put(CC_NV_ChangeAuth);
    const Digest256 first = sha256_of({Digest256{}, auth_value.take()});
    return sha256_of({first, command.take()});
}

std::vector<std::byte> nv_public_of(std::uint32_t index, std::uint32_t attributes) {
    const Digest256 policy = change_auth_policy();
    tpm2::Writer area;
    area.put(index);
    area.put(static_cast<std::uint16_t>(HashAlg::Sha256));
    area.put(attributes);
    area.put(static_cast<std::uint16_t>(policy.size()));
    area.put_raw(policy);
    area.put(kCounterBytes);
    return area.take();
}

struct Place {
    std::uint32_t index = 0;
    std::vector<Bytes> siblings;
};

struct Wire {
    Bytes statement;
    std::array<Bytes, 2> attests;
    std::array<Bytes, 2> signatures;
    Bytes key;
    Bytes leaf;
    Place in_ledger;
    Place in_nonces;
};

struct Statement {
    Bytes root;
    std::uint64_t o = 0;
    std::uint64_t s = 0;
    bool software_tpm = false;
    Bytes nonces;
};

Result<void> expect_magic(WireReader& reader, std::string_view magic) {
    if (text_of(HF_TRY(reader.get_bytes())) != magic) return peer_fault("anchor's part with another magic");
    return {};
}

Result<Bytes> get_digest(WireReader& reader) {
    const auto bytes = HF_TRY(reader.get_bytes());
    if (bytes.size() != sizeof(Digest256)) return peer_fault("digest of another size");
    return bytes;
}

Result<Place> get_place(WireReader& reader) {
    Place place{.index = HF_TRY(reader.get<std::uint32_t>()), .siblings = {}};
    const auto count = HF_TRY(reader.get<std::uint32_t>());
    if (count > kMaxPath) return peer_fault("path is too long");
    for (std::uint32_t i = 0; i < count; ++i) place.siblings.push_back(HF_TRY(get_digest(reader)));
    return place;
}

Result<Wire> parse_wire(Bytes bytes) {
    WireReader reader{bytes};
    HF_TRY(expect_magic(reader, "HFE1"));
    Wire wire;
    wire.statement = HF_TRY(reader.get_bytes());
    for (std::size_t i = 0; i < wire.attests.size(); ++i) {
        wire.attests[i] = HF_TRY(reader.get_bytes());
        wire.signatures[i] = HF_TRY(reader.get_bytes());
    }
    wire.key = HF_TRY(reader.get_bytes());
    wire.leaf = HF_TRY(reader.get_bytes());
    if (wire.leaf.size() != kLeafBytes) return peer_fault("leaf of another size");
    wire.in_ledger = HF_TRY(get_place(reader));
    wire.in_nonces = HF_TRY(get_place(reader));
    HF_TRY(reader.expect_end());
    return wire;
}

Result<Statement> parse_statement(Bytes bytes) {
    WireReader reader{bytes};
    HF_TRY(expect_magic(reader, "HFS1"));
    Statement statement;
    statement.root = HF_TRY(get_digest(reader));
    statement.o = HF_TRY(reader.get<std::uint64_t>());
    statement.s = HF_TRY(reader.get<std::uint64_t>());
    HF_TRY(reader.get<std::uint32_t>());  // resetCount: the certifications state it themselves
    HF_TRY(reader.get_bytes());           // the anchor's instance
    const auto software = HF_TRY(reader.get<std::uint8_t>());
    if (software > 1) return peer_fault("flag is neither 0 nor 1");
    statement.software_tpm = software == 1;
    statement.nonces = HF_TRY(get_digest(reader));
    HF_TRY(reader.expect_end());
    return statement;
}

Result<AnchorLeaf> parse_leaf(Bytes bytes) {
    AnchorLeaf leaf{.vm = {bytes.begin(), bytes.begin() + 16}};
    WireReader version{bytes.subspan(16)};
    leaf.version = HF_TRY(version.get<std::uint64_t>());
    leaf.status = std::to_integer<std::uint8_t>(bytes[88]);
    WireReader marks{bytes.subspan(105)};
    leaf.gaps = HF_TRY(marks.get<std::uint32_t>());
    leaf.generation = HF_TRY(marks.get<std::uint32_t>());
    return leaf;
}

bool leads_to(Bytes root, Bytes leaf, const Place& place) {
    constexpr std::array kLeafTag{std::byte{0}};
    constexpr std::array kNodeTag{std::byte{1}};
    Digest256 node = sha256_of({kLeafTag, leaf});
    std::uint64_t at = place.index;
    for (const Bytes sibling : place.siblings) {
        node = (at & 1) != 0 ? sha256_of({kNodeTag, sibling, node}) : sha256_of({kNodeTag, node, sibling});
        at >>= 1;
    }
    return at == 0 && std::ranges::equal(node, root);
}

/// One counter's certification: by the host's key, for this statement, of the value that it names.
bool is_certified(const AnchorEvidence& evidence, const Wire& wire, std::size_t which, std::uint64_t value,
                  const tpm::QuotePolicy& policy, Findings& findings) {
    const bool orderly = which == 0;
    const auto index =
        nv_public_of(orderly ? kIndexO : kIndexS, kAttributes | (orderly ? tpm::nv::ORDERLY : 0U));
    tpm::QuotePolicy quiet = policy;
    quiet.nonce_required = false;  // below, with a reason of its own
    tpm::CounterPolicy counter{.at_least = std::nullopt, .orderly = orderly};
    if (orderly) counter.at_least = evidence.counter.at_least;
    const auto report = verify_nv_certify({.attest = wire.attests[which],
                                           .signature = wire.signatures[which],
                                           .key = evidence.key,
                                           .trust = evidence.trust,
                                           .nv_public = index,
                                           .nonce = std::nullopt,
                                           .last_seen = evidence.last_seen},
                                          quiet, counter, findings);
    if (!report.authentic || !report.counter) return false;
    Findings other;
    if (!tpm::bind_nonce(*report.authentic, sha256_of({wire.statement}), other)) {
        findings.add(Code::AnchorStatement);
        return false;
    }
    if ((*report.counter)->value != value) {
        findings.add(Code::AnchorValue, std::to_string((*report.counter)->value));
        return false;
    }
    return true;
}

void appraise(const AnchorState& state, const AnchorPolicy& policy, Findings& findings) {
    if (state.leaf.status != kRunning) findings.add(Code::AnchorNotRunning);
    if (state.leaf.gaps > 0 && !policy.allow_gap)
        findings.add(Code::AnchorGap, std::to_string(state.leaf.gaps));
    if (state.leaf.generation > 0 && !policy.allow_reanchored) {
        findings.add(Code::AnchorReanchored, std::to_string(state.leaf.generation));
    }
    if (state.software_tpm && !policy.allow_software_tpm) findings.add(Code::HostSoftwareTpm);
}

}  // namespace

std::optional<AnchorState> verify_anchor(const AnchorEvidence& evidence, const AnchorPolicy& policy,
                                         const tpm::QuotePolicy& quote, Findings& findings) {
    const auto malformed = [&](const Error& error) {
        findings.add(Code::EvidenceMalformed, std::string{"anchor: "} + error.what);
        return std::nullopt;
    };
    const auto wire = parse_wire(evidence.bundle);
    if (!wire) return malformed(wire.error());
    const auto statement = parse_statement(wire->statement);
    if (!statement) return malformed(statement.error());
    auto leaf = parse_leaf(wire->leaf);
    if (!leaf) return malformed(leaf.error());
    if (!std::ranges::equal(wire->key, evidence.key)) {
        findings.add(Code::AnchorKey);
        return std::nullopt;
    }
    const bool o = is_certified(evidence, *wire, 0, statement->o, quote, findings);
    const bool s = is_certified(evidence, *wire, 1, statement->s, quote, findings);
    if (!o || !s) return std::nullopt;
    bool bound = true;
    const auto demand = [&](bool holds, Code code) {
        if (!holds) findings.add(code);
        bound = bound && holds;
    };
    demand(leads_to(statement->root, wire->leaf, wire->in_ledger), Code::AnchorLeaf);
    demand(leads_to(statement->nonces, evidence.question, wire->in_nonces), Code::AnchorNonce);
    demand(leaf->vm == evidence.vm, Code::AnchorOtherVm);
    if (!bound) return std::nullopt;
    AnchorState state{.leaf = std::move(*leaf),
                      .o = statement->o,
                      .s = statement->s,
                      .software_tpm = statement->software_tpm};
    appraise(state, policy, findings);
    return state;
}

}  // namespace holdfast::attest
