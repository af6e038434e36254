// SPDX-License-Identifier: Apache-2.0
#include "attest/evidence/launch_statement.hpp"

#include "attest/evidence/cbor.hpp"

namespace holdfast::attest {
namespace {

// IANA, "CBOR Web Token (CWT) Claims"; claims of ours have texts as keys.
constexpr std::uint64_t kIssuedAt = 6;
constexpr std::uint64_t kNonce = 10;
constexpr std::size_t kMaxText = 4096;
constexpr std::size_t kMaxDigest = 64;
constexpr std::uint64_t kPcrs = 24;

using Bytes = std::span<const std::byte>;

void put_pcrs(cbor::Writer& writer, const tpm::ReferencePcrs& pcrs) {
    writer.put_map(pcrs.size());
    for (const auto& [alg, values] : pcrs) {
        writer.put(static_cast<std::uint64_t>(alg));
        writer.put_map(values.size());
        for (const auto& [pcr, digest] : values) {
            writer.put(std::uint64_t{pcr});
            writer.put(digest.bytes());
        }
    }
}

void put_bundle(cbor::Writer& writer, const BundleClaim& bundle) {
    writer.put_map(4);
    writer.put("key");
    writer.put(Bytes{bundle.key});
    writer.put("name");
    writer.put(bundle.name);
    writer.put("digest");
    writer.put(Bytes{bundle.digest});
    writer.put("version");
    writer.put(bundle.security_version);
}

Result<std::vector<std::byte>> get_bytes(cbor::Reader& reader, std::size_t least, std::size_t most) {
    const auto bytes = HF_TRY(reader.get_bytes());
    if (bytes.size() < least || bytes.size() > most) return peer_fault("claim of another size");
    return std::vector<std::byte>{bytes.begin(), bytes.end()};
}

Result<std::string> get_text(cbor::Reader& reader) {
    const auto text = HF_TRY(reader.get_text());
    if (text.size() > kMaxText) return peer_fault("claim of another size");
    return std::string{text};
}

Result<tpm::ReferencePcrs> get_pcrs(cbor::Reader& reader) {
    tpm::ReferencePcrs pcrs;
    const std::size_t banks = HF_TRY(reader.get_map());
    cbor::Keys bank_keys;
    for (std::size_t i = 0; i < banks; ++i) {
        const auto number = HF_TRY(bank_keys.next_number(reader));
        const auto alg = number <= UINT16_MAX ? known_hash(static_cast<std::uint16_t>(number)) : std::nullopt;
        if (!alg) return peer_fault("bank of an unknown hash");
        const std::size_t values = HF_TRY(reader.get_map());
        cbor::Keys keys;
        for (std::size_t n = 0; n < values; ++n) {
            const auto pcr = HF_TRY(keys.next_number(reader));
            const auto digest = digest_from(*alg, HF_TRY(reader.get_bytes()));
            if (pcr >= kPcrs || !digest) return peer_fault("PCR that does not exist, or of another size");
            pcrs[*alg][static_cast<std::uint32_t>(pcr)] = *digest;
        }
    }
    return pcrs;
}

Result<BundleClaim> get_bundle(cbor::Reader& reader) {
    BundleClaim bundle;
    cbor::Keys keys;
    if (HF_TRY(reader.get_map()) != 4) return peer_fault("claim of another size");
    for (int i = 0; i < 4; ++i) {
        const auto key = HF_TRY(keys.next_text(reader));
        if (key == "key") bundle.key = HF_TRY(get_bytes(reader, 32, 32));
        else if (key == "name") bundle.name = HF_TRY(get_text(reader));
        else if (key == "digest") bundle.digest = HF_TRY(get_bytes(reader, 48, 48));
        else if (key == "version") bundle.security_version = HF_TRY(reader.get_number());
        else return peer_fault("unknown claim");
    }
    return bundle;
}

Result<void> get_claim(cbor::Reader& reader, std::string_view key, LaunchStatement& out) {
    if (key == "ca") out.ca = HF_TRY(get_bytes(reader, 32, 32));
    else if (key == "vm") out.vtpm = HF_TRY(get_bytes(reader, 16, 16));
    else if (key == "cpus") out.cpus = HF_TRY(reader.get_number());
    else if (key == "name") out.name = HF_TRY(get_text(reader));
    else if (key == "pcrs") out.pcrs = HF_TRY(get_pcrs(reader));
    else if (key == "tier") out.tier = HF_TRY(get_text(reader));
    else if (key == "shape") out.shape = HF_TRY(get_text(reader));
    else if (key == "bundle") out.bundle = HF_TRY(get_bundle(reader));
    else if (key == "digest") out.digest = HF_TRY(get_bytes(reader, 1, kMaxDigest));
    else if (key == "memory") out.memory = HF_TRY(reader.get_number());
    else if (key == "window") out.window = HF_TRY(reader.get_number());
    else if (key == "reboots") out.reboots = HF_TRY(reader.get_number());
    else if (key == "started") out.started = HF_TRY(reader.get_number());
    else return peer_fault("unknown claim");
    return {};
}

}  // namespace

std::vector<std::byte> encode(const LaunchStatement& statement) {
    const auto one = [](bool is_there) { return std::size_t{is_there ? 1U : 0U}; };
    cbor::Writer writer;
    writer.put_map(9 + one(!statement.ca.empty()) + one(!statement.vtpm.empty()) +
                   one(!statement.pcrs.empty()) + one(statement.bundle.has_value()) +
                   one(!statement.digest.empty()) + one(statement.window.has_value()));
    writer.put(kIssuedAt);
    writer.put(statement.at);
    writer.put(kNonce);
    writer.put(Bytes{statement.nonce});
    // By length, then by letter.
    if (!statement.ca.empty()) {
        writer.put("ca");
        writer.put(Bytes{statement.ca});
    }
    if (!statement.vtpm.empty()) {
        writer.put("vm");
        writer.put(Bytes{statement.vtpm});
    }
    writer.put("cpus");
    writer.put(statement.cpus);
    writer.put("name");
    writer.put(statement.name);
    if (!statement.pcrs.empty()) {
        writer.put("pcrs");
        put_pcrs(writer, statement.pcrs);
    }
    writer.put("tier");
    writer.put(statement.tier);
    writer.put("shape");
    writer.put(statement.shape);
    if (statement.bundle) {
        writer.put("bundle");
        put_bundle(writer, *statement.bundle);
    }
    if (!statement.digest.empty()) {
        writer.put("digest");
        writer.put(Bytes{statement.digest});
    }
    writer.put("memory");
    writer.put(statement.memory);
    if (statement.window) {
        writer.put("window");
        writer.put(*statement.window);
    }
    writer.put("reboots");
    writer.put(statement.reboots);
    writer.put("started");
    writer.put(statement.started);
    return writer.take();
}

Result<LaunchStatement> decode_launch_statement(std::span<const std::byte> bytes) {
    cbor::Reader reader{bytes};
    LaunchStatement statement;
    cbor::Keys keys;
    const std::size_t claims = HF_TRY(reader.get_map());
    for (std::size_t i = 0; i < claims; ++i) {
        if (reader.is_text_next()) {
            const auto name = HF_TRY(keys.next_text(reader));
            HF_TRY(get_claim(reader, name, statement));
            continue;
        }
        const auto key = HF_TRY(keys.next_number(reader));
        if (key == kIssuedAt) statement.at = HF_TRY(reader.get_number());
        else if (key == kNonce) statement.nonce = HF_TRY(get_bytes(reader, kMinNonce, kMaxNonce));
        else return peer_fault("unknown claim");
    }
    HF_TRY(reader.expect_end());
    if (statement.nonce.empty() || statement.tier.empty()) return peer_fault("claim that is missing");
    return statement;
}

}  // namespace holdfast::attest
