// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/call/services.hpp"

#include <algorithm>

#include "guest_agent/call/blob.hpp"
#include "sys/wire/codec.hpp"

namespace holdfast::agent::call {
namespace {

constexpr std::size_t kMaxWord = 64;

std::vector<std::byte> taken(const WireWriter& writer) {
    return {writer.bytes().begin(), writer.bytes().end()};
}

Result<std::string> get_word(WireReader& reader) {
    std::string word = HF_TRY(reader.get_string());
    if (word.size() > kMaxWord) return peer_fault("a word that is too long");
    return word;
}

/// Names become files of the host: letters, digits and three signs, and no dot in front.
bool is_blob_name(std::string_view name) {
    const auto fits = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
               c == '_' || c == '-';
    };
    return !name.empty() && name.size() <= kMaxBlobName && name.front() != '.' &&
           std::ranges::all_of(name, fits);
}

Result<std::string> get_name(WireReader& reader) {
    std::string name = HF_TRY(reader.get_string());
    if (!is_blob_name(name)) return peer_fault("not a name of a blob");
    return name;
}

}  // namespace

std::vector<std::byte> encode(const Status& status) {
    WireWriter writer;
    writer.put_string(status.version);
    writer.put_string(status.state);
    writer.put(static_cast<std::uint32_t>(status.program_status));
    writer.put(status.uptime_ms);
    writer.put(static_cast<std::uint8_t>(status.has_tpm));
    return taken(writer);
}

Result<Status> decode_status(Bytes body) {
    WireReader reader{body};
    Status status;
    status.version = HF_TRY(get_word(reader));
    status.state = HF_TRY(get_word(reader));
    status.program_status = static_cast<std::int32_t>(HF_TRY(reader.get<std::uint32_t>()));
    status.uptime_ms = HF_TRY(reader.get<std::uint64_t>());
    const auto has_tpm = HF_TRY(reader.get<std::uint8_t>());
    if (has_tpm > 1) return peer_fault("neither yes nor no");
    status.has_tpm = has_tpm == 1;
    HF_TRY(reader.expect_end());
    return status;
}

std::vector<std::byte> encode_blob_name(std::string_view name) {
    WireWriter writer;
    writer.put_string(name);
    return taken(writer);
}

Result<std::string> decode_blob_name(Bytes body) {
    WireReader reader{body};
    std::string name = HF_TRY(get_name(reader));
    HF_TRY(reader.expect_end());
    return name;
}

std::vector<std::byte> encode(const NamedBlob& blob) {
    WireWriter writer;
    writer.put_string(blob.name);
    writer.put_bytes(blob.bytes);
    return taken(writer);
}

Result<NamedBlob> decode_named_blob(Bytes body) {
    WireReader reader{body};
    NamedBlob blob{.name = HF_TRY(get_name(reader)), .bytes = {}};
    const auto bytes = HF_TRY(reader.get_bytes());
    HF_TRY(reader.expect_end());
    blob.bytes.assign(bytes.begin(), bytes.end());
    return blob;
}

std::vector<std::byte> encode(const EvidenceAsk& ask) {
    WireWriter writer;
    writer.put_bytes(ask.nonce);
    writer.put_bytes(ask.quote);
    return taken(writer);
}

Result<EvidenceAsk> decode_evidence_ask(Bytes body) {
    WireReader reader{body};
    const auto nonce = HF_TRY(reader.get_bytes());
    const auto quote = HF_TRY(reader.get_bytes());
    HF_TRY(reader.expect_end());
    EvidenceAsk ask{.nonce = {}, .quote = {quote.begin(), quote.end()}};
    if (nonce.size() != ask.nonce.size()) return peer_fault("a nonce of another size");
    std::ranges::copy(nonce, ask.nonce.begin());
    return ask;
}

}  // namespace holdfast::agent::call
