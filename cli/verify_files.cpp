// SPDX-License-Identifier: Apache-2.0
// The files that `verify` reads.
#include <algorithm>
#include <charconv>
#include <filesystem>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "attest/crypto/hash.hpp"
#include "attest/text/encoding.hpp"
#include "cli/error.hpp"
#include "cli/output.hpp"
#include "cli/policy_toml.hpp"
#include "cli/verify.hpp"
#include "sys/fd.hpp"

namespace holdfast::cli {
namespace {

using attest::tpm::GivenPcrs;

constexpr std::size_t kMaxEvidence = 64U << 20;
constexpr std::size_t kMaxPolicy = 1U << 20;

[[noreturn]] void unusable(const std::string& path, std::string why, std::string fix) {
    throw Failure{Code::Evidence, fmt::format("the file '{}' cannot be used", printable(path)),
                  std::move(why), std::move(fix)};
}

Blob read_file(const std::string& path, std::size_t most) {
    const UniqueFd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    const auto fail = [&](const Error& error) {
        unusable(path, reason_of(error), "give a file that exists and that this user may read");
    };
    if (!fd) fail(os_error("open"));
    Blob bytes;
    // For a regular file: growing by doubling would need room for it twice.
    if (const auto size = file_size(fd)) bytes.reserve(std::min<std::size_t>(*size, most));
    Blob part(1 << 16);
    while (true) {
        const ssize_t got = ::read(fd.get(), part.data(), part.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) fail(os_error("read"));
        if (got == 0) return bytes;
        if (bytes.size() + static_cast<std::size_t>(got) > most) {
            unusable(path, fmt::format("it is larger than {}", size_words(most)), "no evidence is that long");
        }
        bytes.insert(bytes.end(), part.begin(), part.begin() + got);
    }
}

std::optional<std::uint32_t> number_of(std::string_view text) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

std::string_view trimmed(std::string_view text) {
    const std::size_t first = text.find_first_not_of(" \t\r");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

/// "sha256:" on a line of its own, then "0 : 0x…"; what else tpm2_pcrread prints is passed over.
std::vector<GivenPcrs> pcrs_of_text(const std::string& path, std::string_view text) {
    std::vector<GivenPcrs> all;
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        const auto line = trimmed(text.substr(0, end));
        text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
        const std::size_t colon = line.find(':');
        if (line.empty() || colon == std::string_view::npos) continue;
        const auto name = trimmed(line.substr(0, colon));
        auto value = trimmed(line.substr(colon + 1));
        if (const auto alg = attest::hash_of_name(name); alg && value.empty()) {
            all.push_back({.bank = static_cast<std::uint16_t>(*alg), .values = {}});
            continue;
        }
        const auto index = number_of(name);
        if (value.starts_with("0x")) value.remove_prefix(2);
        auto bytes = attest::bytes_of_hex(value);
        if (!index || !bytes || all.empty()) {
            unusable(path, fmt::format("this line is no PCR value: {}", printable(line)),
                     "give the output of tpm2_pcrread, or JSON");
        }
        all.back().values[*index] = std::move(*bytes);
    }
    return all;
}

GivenPcrs pcrs_of_object(const std::string& path, const nlohmann::json& object, std::uint16_t bank) {
    GivenPcrs pcrs{.bank = bank, .values = {}};
    for (const auto& [name, value] : object.items()) {
        const auto index = number_of(name);
        auto bytes = value.is_string() ? attest::bytes_of_hex(value.get<std::string>())
                                       : Result<Blob>{input_error("not a text")};
        if (!index || !bytes)
            unusable(path, "it is not {\"0\": \"hex\", ...}", "give PCR values by their numbers");
        pcrs.values[*index] = std::move(*bytes);
    }
    return pcrs;
}

std::vector<GivenPcrs> pcrs_of_json(const std::string& path, std::string_view text) {
    const auto json = nlohmann::json::parse(text, nullptr, false);
    if (!json.is_object()) unusable(path, "it is not a JSON object", "give {\"sha256\": {\"0\": \"hex\"}}");
    std::vector<GivenPcrs> all;
    for (const auto& [name, value] : json.items()) {
        const auto alg = attest::hash_of_name(name);
        if (!alg) return {pcrs_of_object(path, json, 0)};
        if (!value.is_object())
            unusable(path, "a bank is not an object", "give {\"sha256\": {\"0\": \"hex\"}}");
        all.push_back(pcrs_of_object(path, value, static_cast<std::uint16_t>(*alg)));
    }
    return all;
}

}  // namespace

Blob read_evidence(const std::string& path) { return read_file(path, kMaxEvidence); }

Blob read_key(const std::string& path) {
    constexpr std::string_view kBegin = "-----BEGIN PUBLIC KEY-----";
    constexpr std::string_view kEnd = "-----END PUBLIC KEY-----";
    Blob bytes = read_file(path, kMaxPolicy);
    const auto text = attest::text_of(bytes);
    const std::size_t begin = text.find(kBegin);
    if (begin == std::string_view::npos) return bytes;
    const std::size_t start = begin + kBegin.size();
    const std::size_t end = text.find(kEnd, start);
    auto der = end == std::string_view::npos ? Result<Blob>{input_error("its end is missing")}
                                             : attest::bytes_of_base64(text.substr(start, end - start));
    if (!der) unusable(path, der.error().what, "give a public key in PEM, DER, or as the TPM has it");
    return std::move(*der);
}

std::vector<GivenPcrs> read_pcrs(const std::string& path) {
    const Blob bytes = read_file(path, kMaxPolicy);
    const auto text = trimmed(attest::text_of(bytes));
    return text.starts_with('{') ? pcrs_of_json(path, text) : pcrs_of_text(path, text);
}

attest::Policy read_policy(const std::string& path) {
    const Blob bytes = read_file(path, kMaxPolicy);
    auto policy = parse_policy(attest::text_of(bytes));
    if (!policy) {
        throw Failure{Code::Policy,
                      fmt::format("{}, line {}: this is no policy", printable(path), policy.error().line),
                      printable(policy.error().what), "docs/attestation.md describes policies"};
    }
    // Files are found from where the policy lies.
    const auto folder = std::filesystem::path{path}.parent_path();
    for (auto* const paths : {&policy->tpm_roots, &policy->snp_roots, &policy->tdx_roots,
                              &policy->bundle_keys, &policy->vtpm_roots}) {
        for (std::string& one : *paths) one = (folder / one).string();
    }
    for (auto* const file : {&policy->last_seen, &policy->enrolled}) {
        if (!file->empty()) *file = (folder / *file).string();
    }
    return std::move(*policy);
}

std::vector<attest::Certificate> read_certificates(const std::vector<std::string>& paths) {
    std::vector<attest::Certificate> all;
    for (const std::string& path : paths) {
        const auto some = attest::parse_certificates(read_file(path, kMaxPolicy));
        if (!some) unusable(path, some.error().what, "give certificates in PEM or DER");
        all.insert(all.end(), some->begin(), some->end());
    }
    return all;
}

std::vector<attest::Crl> Piece::crls() const {
    std::vector<attest::Crl> all;
    for (const std::string& path : options.crls) {
        auto crl = attest::Crl::parse(read_evidence(path));
        if (!crl) {
            throw Failure{Code::Evidence, fmt::format("'{}' is no revocation list", printable(path)),
                          crl.error().what, "give it in DER, PEM or hexadecimal"};
        }
        all.push_back(std::move(*crl));
    }
    return all;
}

}  // namespace holdfast::cli
