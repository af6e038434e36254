// SPDX-License-Identifier: Apache-2.0
#include "attest/evidence/evidence.hpp"

#include "attest/evidence/cbor.hpp"

namespace holdfast::attest {
namespace {

// RFC 9999 §3.1: a record is [type, value, indicator], and the third bit of the indicator is for evidence.
constexpr std::uint64_t kIsEvidence = 4;
constexpr std::string_view kHostType = "application/vnd.holdfast.host-quote+cbor";
constexpr std::string_view kAnchorType = "application/vnd.holdfast.anchor";
constexpr std::string_view kLaunchType = "application/eat-ucs+cbor";

enum HostKey : std::uint8_t { kAttest = 1, kSignature, kKey, kPcrs, kEventLog, kImaList };
constexpr std::uint64_t kMaxPcrs = 24;
constexpr std::size_t kMaxBanks = 8;

void put_record(cbor::Writer& writer, std::string_view label, std::string_view type, Bytes value) {
    writer.put(label);
    writer.put_array(3);
    writer.put(type);
    writer.put(value);
    writer.put(kIsEvidence);
}

Result<Bytes> get_record(cbor::Reader& reader, std::string_view type) {
    if (HF_TRY(reader.get_array()) != 3) return peer_fault("record of another size");
    if (HF_TRY(reader.get_text()) != type) return peer_fault("record of another type");
    const auto value = HF_TRY(reader.get_bytes());
    if (HF_TRY(reader.get_number()) != kIsEvidence) return peer_fault("record that is no evidence");
    return value;
}

Result<tpm::GivenPcrs> get_bank(cbor::Reader& reader) {
    if (HF_TRY(reader.get_array()) != 2) return peer_fault("bank of another size");
    const auto alg = HF_TRY(reader.get_number());
    if (alg == 0 || alg > UINT16_MAX) return peer_fault("bank of an unknown hash");
    tpm::GivenPcrs bank{.bank = static_cast<std::uint16_t>(alg), .values = {}};
    const std::size_t values = HF_TRY(reader.get_map());
    cbor::Keys keys;
    for (std::size_t i = 0; i < values; ++i) {
        const auto pcr = HF_TRY(keys.next_number(reader));
        const auto value = HF_TRY(reader.get_bytes());
        if (pcr >= kMaxPcrs || value.size() > kMaxDigest) return peer_fault("PCR that does not exist");
        bank.values[static_cast<std::uint32_t>(pcr)] = {value.begin(), value.end()};
    }
    return bank;
}

Digest256 question(std::string_view label, Bytes nonce, std::initializer_list<Bytes> parts) {
    const auto hash_of = [](Bytes bytes) {
        Sha256 hash;
        hash.update(bytes);
        return hash.finish();
    };
    Sha256 whole;
    whole.update(std::as_bytes(std::span{label}));
    whole.update(hash_of(nonce));
    for (const Bytes part : parts) whole.update(hash_of(part));
    return whole.finish();
}

}  // namespace

std::vector<std::byte> encode(const HostPart& host) {
    cbor::Writer writer;
    writer.put_map(4U + (host.event_log ? 1U : 0U) + (host.ima_list ? 1U : 0U));
    for (const auto& [key, value] : {std::pair{kAttest, host.attest}, std::pair{kSignature, host.signature},
                                     std::pair{kKey, host.key}}) {
        writer.put(std::uint64_t{key});
        writer.put(value);
    }
    writer.put(std::uint64_t{kPcrs});
    writer.put_array(host.pcrs.size());
    for (const tpm::GivenPcrs& bank : host.pcrs) {
        writer.put_array(2);
        writer.put(std::uint64_t{bank.bank});
        writer.put_map(bank.values.size());
        for (const auto& [pcr, value] : bank.values) {
            writer.put(std::uint64_t{pcr});
            writer.put(Bytes{value});
        }
    }
    for (const auto& [key, value] :
         {std::pair{kEventLog, host.event_log}, std::pair{kImaList, host.ima_list}}) {
        if (!value) continue;
        writer.put(std::uint64_t{key});
        writer.put(*value);
    }
    return writer.take();
}

Result<HostPart> decode_host(Bytes bytes) {
    cbor::Reader reader{bytes};
    HostPart host;
    cbor::Keys keys;
    const std::size_t fields = HF_TRY(reader.get_map());
    for (std::size_t i = 0; i < fields; ++i) {
        const auto key = HF_TRY(keys.next_number(reader));
        if (key == kPcrs) {
            const std::size_t banks = HF_TRY(reader.get_array());
            if (banks > kMaxBanks) return peer_fault("too many banks");
            for (std::size_t n = 0; n < banks; ++n) host.pcrs.push_back(HF_TRY(get_bank(reader)));
            continue;
        }
        const auto value = HF_TRY(reader.get_bytes());
        if (key == kAttest) host.attest = value;
        else if (key == kSignature) host.signature = value;
        else if (key == kKey) host.key = value;
        else if (key == kEventLog) host.event_log = value;
        else if (key == kImaList) host.ima_list = value;
        else return peer_fault("unknown field of the host's quote");
    }
    HF_TRY(reader.expect_end());
    if (host.attest.empty() || host.signature.empty() || host.key.empty()) {
        return peer_fault("field of the host's quote that is missing");
    }
    return host;
}

std::vector<std::byte> encode(const Evidence& evidence) {
    cbor::Writer writer;
    writer.put_map(evidence.anchor ? 3 : 2);
    put_record(writer, "host", kHostType, evidence.host);
    if (evidence.anchor) put_record(writer, "anchor", kAnchorType, *evidence.anchor);
    put_record(writer, "launch", kLaunchType, evidence.launch);
    return writer.take();
}

Result<Evidence> decode_evidence(Bytes bytes) {
    if (bytes.size() > kMaxEvidence) return peer_fault("evidence is too long");
    cbor::Reader reader{bytes};
    Evidence evidence;
    cbor::Keys keys;
    const std::size_t records = HF_TRY(reader.get_map());
    for (std::size_t i = 0; i < records; ++i) {
        const auto label = HF_TRY(keys.next_text(reader));
        if (label == "host") evidence.host = HF_TRY(get_record(reader, kHostType));
        else if (label == "anchor") evidence.anchor = HF_TRY(get_record(reader, kAnchorType));
        else if (label == "launch") evidence.launch = HF_TRY(get_record(reader, kLaunchType));
        else return peer_fault("unknown part of evidence");
    }
    HF_TRY(reader.expect_end());
    if (evidence.host.empty() || evidence.launch.empty())
        return peer_fault("part of evidence that is missing");
    return evidence;
}

Digest256 anchor_question(Bytes nonce, Bytes launch) {
    return question({"holdfast evidence: anchor\0", 26}, nonce, {launch});
}

Digest256 host_question(Bytes nonce, Bytes launch, const std::optional<Bytes>& anchor) {
    // Without the anchor's part there is one hash less, and no other input has that length.
    if (!anchor) return question({"holdfast evidence: host\0", 24}, nonce, {launch});
    return question({"holdfast evidence: host\0", 24}, nonce, {launch, *anchor});
}

}  // namespace holdfast::attest
