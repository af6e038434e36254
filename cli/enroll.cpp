// SPDX-License-Identifier: Apache-2.0
// holdfast enroll: by credential activation a verifier learns that a host's attestation key is in the TPM of
// a certain endorsement key. The verifier makes the challenge; files go back and forth: request (host),
// challenge (verifier), answer (host), accept (verifier).
#include <ctime>

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <sys/socket.h>

#include "attest/crypto/credential.hpp"
#include "attest/crypto/x509.hpp"
#include "attest/evidence/cbor.hpp"
#include "attest/formats/tpm/attestation_key.hpp"
#include "cli/anchor_files.hpp"
#include "cli/enrolled.hpp"
#include "cli/error.hpp"
#include "cli/files.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/verify.hpp"
#include "sys/sha2.hpp"
#include "sys/socket.hpp"
#include "vtpm/anchor/protocol.hpp"

namespace holdfast::cli {
namespace {

using Fields = std::vector<std::pair<std::string_view, std::span<const std::byte>>>;
constexpr std::size_t kSecretBytes = 32;

[[noreturn]] void refuse(const char* what, std::string why, std::string fix) {
    throw Failure{Code::Evidence, what, std::move(why), std::move(fix)};
}

const std::string& needed(const std::string& value, const char* flag, const EnrollOptions& options) {
    if (!value.empty()) return value;
    throw Failure{Code::Usage, fmt::format("enroll {} needs {}", options.action, flag), "it has no default",
                  "holdfast enroll --help says what goes with what"};
}

/// A map of byte strings; `fields` in the order of their encodings.
void write_fields(const std::string& path, const Fields& fields, mode_t mode) {
    attest::cbor::Writer writer;
    writer.put_map(fields.size());
    for (const auto& [name, value] : fields) {
        writer.put(name);
        writer.put(value);
    }
    write_file(path, writer.take(), mode);
}

/// The same fields, no others.
Result<std::vector<Blob>> parse_fields(const Blob& bytes, std::span<const std::string_view> names) {
    attest::cbor::Reader reader{bytes};
    if (HF_TRY(reader.get_map()) != names.size()) return input_error("it has other fields");
    std::vector<Blob> values;
    for (const std::string_view name : names) {
        if (HF_TRY(reader.get_text()) != name) return input_error("it has other fields");
        const auto value = HF_TRY(reader.get_bytes());
        values.emplace_back(value.begin(), value.end());
    }
    HF_TRY(reader.expect_end());
    return values;
}

std::vector<Blob> read_fields(const std::string& path, std::initializer_list<std::string_view> names) {
    auto values = parse_fields(read_evidence(path), names);
    if (values) return std::move(*values);
    refuse("a file of another step of enrolment", fmt::format("{}: {}", printable(path), values.error().what),
           "the steps are request, challenge, answer and accept");
}

template <typename Wanted>
Wanted ask_anchor(const std::string& state_dir, const anchor::Ask& question) {
    const auto answer = [&]() -> Result<anchor::Answer> {
        const UniqueFd socket = HF_TRY(connect_unix(AnchorFiles{state_dir}.socket(), SOCK_SEQPACKET));
        return anchor::ask(socket, question);
    }();
    if (!answer) {
        throw Failure{Code::AnchorStopped, "a host is enrolled through its anchor, which does not answer",
                      reason_of(answer.error()), "holdfast anchor serve runs it"};
    }
    if (const auto* const wanted = std::get_if<Wanted>(&*answer)) return *wanted;
    const auto* const denied = std::get_if<anchor::Denied>(&*answer);
    throw Failure{Code::AnchorDenied, "the anchor did not answer the challenge",
                  denied != nullptr ? anchor::denial_words(denied->why) : "it answers something else",
                  "let the verifier make one for this host's own request"};
}

struct Keys {
    Blob ak_name;
    attest::PublicKey ek;
    std::string ek_digest;
};

Keys keys_of(const Blob& ak, const Blob& ek) {
    attest::Findings findings;
    const auto attestation = attest::tpm::parse_attestation_key(ak);
    const auto endorsement = attest::tpm::parse_public(ek);
    if (!attestation || !endorsement || !(*attestation)->area) {
        refuse("the request holds no keys of a TPM", "a public area is malformed", "make the request again");
    }
    // What could also sign what its TPM did not make proves nothing, whichever TPM it is in.
    if (!attest::tpm::trust_given(*attestation, findings) || findings.has(attest::Code::TpmAkAttributes)) {
        refuse("the request's attestation key is none", "it could sign what its TPM did not make",
               "make the request again");
    }
    Sha256 hash;
    hash.update(endorsement->key.spki());
    return {.ak_name = (*attestation)->area->name, .ek = endorsement->key, .ek_digest = hex(hash.finish())};
}

/// Whether somebody whom the verifier trusts says that the endorsement key is a TPM's.
void check_certificate(const EnrollOptions& options, const Blob& der, const Keys& keys) {
    if (options.roots.empty()) {
        if (!options.uncertified) {
            refuse(
                "nobody says that this endorsement key is a TPM's",
                "--roots is not given, and without it a program could play the TPM",
                "give the TPM makers' root certificates, or --uncertified, and know the host by other means");
        }
        print_error("holdfast: --uncertified: nothing shows that this is a TPM; only that both keys are in "
                    "one place\n");
        return;
    }
    attest::Findings findings;
    std::vector<attest::Certificate> roots;
    for (const std::string& path : options.roots) {
        const auto some = attest::parse_certificates(read_evidence(path));
        if (!some) refuse("the roots cannot be used", some.error().what, "give certificates in PEM or DER");
        roots.insert(roots.end(), some->begin(), some->end());
    }
    auto verifier = attest::ChainVerifier::create(roots);
    if (!verifier) refuse("the roots cannot be used", verifier.error().what, "give self-signed certificates");
    const auto chain =
        verifier->verify({.presented = der, .helpers = roots, .at = std::time(nullptr)}, findings);
    const auto key = chain ? chain->front().key() : Result<attest::PublicKey>{input_error("")};
    if (key && *key == keys.ek) return;
    std::string why = der.empty() ? "its TPM holds no certificate" : "the certificate is of another key";
    for (const attest::Finding& finding : findings.list()) why = attest::row_of(finding.code).title;
    refuse("nobody whom you trust says that this endorsement key is a TPM's", why,
           "give the root of whoever made this TPM");
}

int request(const EnrollOptions& options, const std::string& state_dir) {
    const auto keys = ask_anchor<anchor::HostKeys>(state_dir, anchor::KeysAsk{});
    write_fields(needed(options.out, "--out", options),
                 {{"ak", keys.attestation}, {"ek", keys.endorsement}, {"certificate", keys.certificate}},
                 0644);
    return 0;
}

int challenge(const EnrollOptions& options) {
    const auto fields = read_fields(needed(options.file, "a request", options), {"ak", "ek", "certificate"});
    const Keys keys = keys_of(fields[0], fields[1]);
    check_certificate(options, fields[2], keys);
    const Blob secret = attest::random_secret(kSecretBytes);
    const auto made = attest::make_credential(keys.ek, keys.ak_name, secret);
    if (!made)
        refuse("no challenge can be made", made.error().what,
               "the anchor's endorsement key is one of P-256 or RSA-2048");
    write_fields(needed(options.keep, "--keep", options),
                 {{"ak", fields[0]}, {"ek", fields[1]}, {"secret", secret}, {"certificate", fields[2]}},
                 0600);
    write_fields(needed(options.out, "--out", options),
                 {{"secret", made->secret}, {"credential", made->blob}}, 0644);
    return 0;
}

int answer(const EnrollOptions& options, const std::string& state_dir) {
    const auto fields = read_fields(needed(options.file, "a challenge", options), {"secret", "credential"});
    const auto activated = ask_anchor<anchor::Activated>(
        state_dir, anchor::Challenge{.credential = fields[1], .secret = fields[0]});
    write_fields(needed(options.out, "--out", options), {{"credential", activated.credential}}, 0600);
    return 0;
}

int accept(const EnrollOptions& options) {
    const auto kept =
        read_fields(needed(options.keep, "--keep", options), {"ak", "ek", "secret", "certificate"});
    const auto given = read_fields(needed(options.file, "an answer", options), {"credential"});
    if (given[0].size() != kept[2].size() ||
        CRYPTO_memcmp(given[0].data(), kept[2].data(), kept[2].size()) != 0) {
        refuse("the host is not enrolled", "the answer is not that of the TPM which was asked",
               "begin again: holdfast enroll request");
    }
    const Keys keys = keys_of(kept[0], kept[1]);
    const std::string name = hex(keys.ak_name);
    const std::string& list = needed(options.into, "--into", options);
    EnrolledHosts hosts = read_enrolled(list, true);
    hosts[name] = {.ek = keys.ek_digest, .certificate = kept[3], .label = options.label};
    write_enrolled(list, hosts);
    print("ak {}\nek sha256:{}\n", name, keys.ek_digest);
    return 0;
}

}  // namespace

int enroll(const EnrollOptions& options, const std::string& state_dir) {
    if (options.action == "request") return request(options, state_dir);
    if (options.action == "challenge") return challenge(options);
    if (options.action == "answer") return answer(options, state_dir);
    return accept(options);
}

}  // namespace holdfast::cli
