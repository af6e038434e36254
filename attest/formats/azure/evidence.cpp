// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/azure/evidence.hpp"

#include "attest/text/encoding.hpp"
#include "attest/text/json.hpp"
#include "vtpm/tpm2/codec.hpp"

namespace holdfast::attest::azure {
namespace {

constexpr std::uint16_t kRsassa = 0x0014;
constexpr std::uint16_t kSha256 = 0x000b;
constexpr std::size_t kMaxSignature = 1024;
constexpr std::size_t kMaxPcrs = 32;

Blob bytes_of(std::string_view text) {
    const auto bytes = std::as_bytes(std::span{text});
    return {bytes.begin(), bytes.end()};
}

/// [1,2,3]
Result<Blob> blob_of_numbers(JsonValue value) {
    const auto elements = HF_TRY(value.elements());
    Blob blob;
    blob.reserve(elements.size());
    for (const JsonValue element : elements) {
        const auto number = HF_TRY(element.number());
        if (number > 255) return input_error("Azure evidence with a byte above 255");
        blob.push_back(static_cast<std::byte>(number));
    }
    return blob;
}

/// The forms tell themselves apart: the older one has arrays where the other has text.
Result<Blob> blob_of(JsonValue value, Result<Blob> (*decode)(std::string_view)) {
    if (!value.is_string()) return blob_of_numbers(value);
    const auto text = HF_TRY(value.string());
    return decode(text);
}

Result<Blob> blob_at(JsonValue object, std::string_view name, Result<Blob> (*decode)(std::string_view)) {
    const auto member = HF_TRY(object.at(name));
    return blob_of(member, decode);
}

Result<Blob> tpmt_signature(const Blob& bare) {
    if (bare.size() > kMaxSignature) return input_error("Azure evidence with a signature that is too large");
    tpm2::Writer writer;
    writer.put(kRsassa);
    writer.put(kSha256);
    writer.put(static_cast<std::uint16_t>(bare.size()));
    writer.put_raw(bare);
    return writer.take();
}

Result<TpmQuote> tpm_quote_of(JsonValue object) {
    TpmQuote quote;
    quote.message = HF_TRY(blob_at(object, "message", bytes_of_hex));
    const auto bare = HF_TRY(blob_at(object, "signature", bytes_of_hex));
    quote.signature = HF_TRY(tpmt_signature(bare));
    const auto pcrs = HF_TRY(object.at("pcrs"));
    const auto elements = HF_TRY(pcrs.elements());
    if (elements.size() > kMaxPcrs) return input_error("Azure evidence with more PCRs than there are");
    for (const JsonValue element : elements) quote.pcrs.push_back(HF_TRY(blob_of(element, bytes_of_hex)));
    return quote;
}

/// PEM in the older form, else base64url of DER.
Result<Blob> certificate_of(JsonValue value) {
    const auto text = HF_TRY(value.string());
    if (text.contains("-----BEGIN")) return bytes_of(text);
    return bytes_of_base64(text);
}

}  // namespace

Result<TpmQuote> parse_tpm_quote(std::string_view json) {
    const auto document = HF_TRY(JsonDocument::parse(json));
    const JsonValue root = document.root();
    const auto member = root.find("tpm_quote");
    return tpm_quote_of(member ? *member : root);
}

Result<Evidence> parse_evidence(std::string_view json) {
    const auto document = HF_TRY(JsonDocument::parse(json));
    const JsonValue root = document.root();
    Evidence evidence;
    const bool old_form = root.find("version") == std::nullopt;
    evidence.hcl_report = HF_TRY(blob_at(root, old_form ? "report" : "hcl_report", bytes_of_base64));
    const auto quote = HF_TRY(root.at(old_form ? "quote" : "tpm_quote"));
    evidence.quote = HF_TRY(tpm_quote_of(quote));
    if (const auto vcek = root.find("vcek")) evidence.vcek = HF_TRY(certificate_of(*vcek));
    if (const auto td_quote = root.find("td_quote"))
        evidence.td_quote = HF_TRY(blob_of(*td_quote, bytes_of_base64));
    return evidence;
}

}  // namespace holdfast::attest::azure
