// SPDX-License-Identifier: Apache-2.0
#include "attest/evidence/evidence.hpp"

#include "attest/evidence/cbor.hpp"

namespace holdfast::attest {
namespace {

// RFC 9999 §3.1: a record is [type, value, indicator], and the third bit of the indicator is for evidence.
constexpr std::uint64_t kIsEvidence = 4;
constexpr std::string_view kHostType = "application/vnd.holdfast.host-quote+cbor";
constexpr std::string_view kCpuType = "application/vnd.holdfast.cpu-report+cbor";
constexpr std::string_view kVtpmType = "application/vnd.holdfast.vtpm-quote+cbor";
constexpr std::string_view kAnchorType = "application/vnd.holdfast.anchor";
constexpr std::string_view kLaunchType = "application/eat-ucs+cbor";

enum QuoteKey : std::uint8_t {
    kAttest = 1,
    kSignature,
    kKey,
    kPcrs,
    kEventLog,
    kImaList,
    kAkCertificate,
    kEkCertificate,
    kCaCertificate
};
enum CpuKey : std::uint8_t { kTier = 1, kReport, kEndorsement, kCpuLog };
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

Digest256 question(std::string_view label, Bytes nonce, std::span<const Bytes> parts) {
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

std::vector<std::byte> encode_quote(const HostPart& host, std::span<const std::pair<QuoteKey, Bytes>> more) {
    cbor::Writer writer;
    writer.put_map(4U + (host.event_log ? 1U : 0U) + (host.ima_list ? 1U : 0U) + more.size());
    const auto put = [&](QuoteKey key, Bytes value) {
        writer.put(std::uint64_t{key});
        writer.put(value);
    };
    put(kAttest, host.attest);
    put(kSignature, host.signature);
    put(kKey, host.key);
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
    if (host.event_log) put(kEventLog, *host.event_log);
    if (host.ima_list) put(kImaList, *host.ima_list);
    for (const auto& [key, value] : more) put(key, value);
    return writer.take();
}

Result<std::vector<tpm::GivenPcrs>> get_banks(cbor::Reader& reader) {
    const std::size_t banks = HF_TRY(reader.get_array());
    if (banks > kMaxBanks) return peer_fault("too many banks");
    std::vector<tpm::GivenPcrs> all;
    for (std::size_t n = 0; n < banks; ++n) all.push_back(HF_TRY(get_bank(reader)));
    return all;
}

/// The field of a quote that `key` names; none: there is no such one.
Bytes* field_of(HostPart& host, std::uint64_t key) {
    switch (key) {
        case kAttest: return &host.attest;
        case kSignature: return &host.signature;
        case kKey: return &host.key;
        case kEventLog: return &host.event_log.emplace();
        case kImaList: return &host.ima_list.emplace();
        default: return nullptr;
    }
}

Bytes* certificate_of(VtpmPart& vtpm, std::uint64_t key) {
    switch (key) {
        case kAkCertificate: return &vtpm.ak_certificate;
        case kEkCertificate: return &vtpm.ek_certificate;
        case kCaCertificate: return &vtpm.ca_certificate;
        default: return nullptr;
    }
}

Result<VtpmPart> decode_quote(Bytes bytes, bool with_certificates) {
    cbor::Reader reader{bytes};
    VtpmPart part;
    cbor::Keys keys;
    bool has_pcrs = false;
    const std::size_t fields = HF_TRY(reader.get_map());
    for (std::size_t i = 0; i < fields; ++i) {
        const auto key = HF_TRY(keys.next_number(reader));
        if (key == kPcrs) {
            part.quote.pcrs = HF_TRY(get_banks(reader));
            has_pcrs = true;
            continue;
        }
        Bytes* field = field_of(part.quote, key);
        const bool certificate = field == nullptr && with_certificates;
        if (certificate) field = certificate_of(part, key);
        if (field == nullptr) return peer_fault("unknown field of a quote");
        *field = HF_TRY(reader.get_bytes());
        if (certificate && field->empty())
            return peer_fault("certificate of no bytes");  // it is left out then
    }
    HF_TRY(reader.expect_end());
    if (part.quote.attest.empty() || part.quote.signature.empty() || part.quote.key.empty() || !has_pcrs) {
        return peer_fault("field of a quote that is missing");
    }
    return part;
}

/// The field of a CPU's part that `key` names; none: there is no such one.
Bytes* field_of(CpuPart& cpu, std::uint64_t key) {
    switch (key) {
        case kReport: return &cpu.report;
        case kEndorsement: return &cpu.endorsement;
        case kCpuLog: return &cpu.event_log;
        default: return nullptr;
    }
}

}  // namespace

std::vector<std::byte> encode(const HostPart& host) { return encode_quote(host, {}); }

std::vector<std::byte> encode(const VtpmPart& vtpm) {
    std::vector<std::pair<QuoteKey, Bytes>> certificates;
    for (const auto& one :
         {std::pair{kAkCertificate, vtpm.ak_certificate}, std::pair{kEkCertificate, vtpm.ek_certificate},
          std::pair{kCaCertificate, vtpm.ca_certificate}}) {
        if (!one.second.empty()) certificates.push_back(one);
    }
    return encode_quote(vtpm.quote, certificates);
}

Result<HostPart> decode_host(Bytes bytes) { return HF_TRY(decode_quote(bytes, false)).quote; }
Result<VtpmPart> decode_vtpm(Bytes bytes) { return decode_quote(bytes, true); }

std::vector<std::byte> encode(const CpuPart& cpu) {
    cbor::Writer writer;
    writer.put_map(2U + (cpu.endorsement.empty() ? 0U : 1U) + (cpu.event_log.empty() ? 0U : 1U));
    writer.put(std::uint64_t{kTier});
    writer.put(cpu.tier);
    for (const auto& [key, value] : {std::pair{kReport, cpu.report}, std::pair{kEndorsement, cpu.endorsement},
                                     std::pair{kCpuLog, cpu.event_log}}) {
        if (value.empty()) continue;
        writer.put(std::uint64_t{key});
        writer.put(value);
    }
    return writer.take();
}

Result<CpuPart> decode_cpu(Bytes bytes) {
    cbor::Reader reader{bytes};
    CpuPart cpu;
    cbor::Keys keys;
    const std::size_t fields = HF_TRY(reader.get_map());
    for (std::size_t i = 0; i < fields; ++i) {
        const auto key = HF_TRY(keys.next_number(reader));
        if (key == kTier) {
            cpu.tier = HF_TRY(reader.get_text());
            continue;
        }
        Bytes* const field = field_of(cpu, key);
        if (field == nullptr) return peer_fault("unknown field of a CPU's report");
        *field = HF_TRY(reader.get_bytes());
        if (field->empty())
            return peer_fault("field of a CPU's report without bytes");  // it is left out then
    }
    HF_TRY(reader.expect_end());
    if (cpu.tier != kTierSnp && cpu.tier != kTierTdx) return peer_fault("report of an unknown kind of CPU");
    if (cpu.report.empty()) return peer_fault("report of a CPU that is missing");
    if (cpu.tier == kTierSnp && !cpu.event_log.empty()) return peer_fault("event log that SNP does not have");
    return cpu;
}

std::vector<std::byte> encode(const Evidence& evidence) {
    cbor::Writer writer;
    // Labels by length, then by letter.
    writer.put_map(2U + (evidence.anchor ? 1U : 0U) + (evidence.vtpm ? 1U : 0U) + (evidence.cpu ? 1U : 0U));
    if (evidence.cpu) put_record(writer, "cpu", kCpuType, *evidence.cpu);
    put_record(writer, "host", kHostType, evidence.host);
    if (evidence.vtpm) put_record(writer, "vtpm", kVtpmType, *evidence.vtpm);
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
        if (label == "cpu") evidence.cpu = HF_TRY(get_record(reader, kCpuType));
        else if (label == "host") evidence.host = HF_TRY(get_record(reader, kHostType));
        else if (label == "vtpm") evidence.vtpm = HF_TRY(get_record(reader, kVtpmType));
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
    return question({"holdfast evidence: anchor\0", 26}, nonce, std::span{&launch, 1});
}

Digest256 host_question(Bytes nonce, const Evidence& parts) {
    using namespace std::string_view_literals;
    // The label says what comes before the launch statement. Without the anchor's part there is one hash
    // less, and no other input under that label has that length.
    std::string_view label = "holdfast evidence: host\0"sv;
    if (parts.cpu && parts.vtpm) label = "holdfast evidence: host, cpu and vtpm\0"sv;
    else if (parts.cpu) label = "holdfast evidence: host and cpu\0"sv;
    else if (parts.vtpm) label = "holdfast evidence: host and vtpm\0"sv;
    std::vector<Bytes> hashed;
    if (parts.cpu) hashed.push_back(*parts.cpu);
    if (parts.vtpm) hashed.push_back(*parts.vtpm);
    hashed.push_back(parts.launch);
    if (parts.anchor) hashed.push_back(*parts.anchor);
    return question(label, nonce, hashed);
}

Digest256 cpu_question(Bytes nonce, Bytes vtpm_key) {
    using namespace std::string_view_literals;
    const std::span key{&vtpm_key, vtpm_key.empty() ? 0U : 1U};
    return question("holdfast evidence: cpu\0"sv, nonce, key);
}

}  // namespace holdfast::attest
