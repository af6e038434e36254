// SPDX-License-Identifier: Apache-2.0
// bench-attest-cpu DIR [--quick]: how many SNP reports with their chain, and TDX quotes with their
// collateral, are verified a second, beside the same signatures by OpenSSL alone (chains cached in both). DIR
// is a folder of vectors with those of snp-genoa-v3 and tdx-upToDate-v4. Rounds of the two are interleaved;
// the ratio is that of the medians.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "attest/formats/snp/policy.hpp"
#include "attest/formats/tdx/policy.hpp"
#include "attest/text/encoding.hpp"

using namespace holdfast;
using namespace holdfast::attest;

namespace {

using Buffer = std::vector<std::byte>;
int g_rounds = 15;
constexpr std::chrono::milliseconds kRound{150};

Buffer read(const std::filesystem::path& path) {
    std::ifstream file{path, std::ios::binary};
    const std::string text{std::istreambuf_iterator<char>{file}, {}};
    const auto bytes = std::as_bytes(std::span{text});
    check(!bytes.empty(), "bench-attest-cpu: a file of the vectors is not there");
    return {bytes.begin(), bytes.end()};
}

double per_second(const std::function<bool()>& one) {
    const auto begin = std::chrono::steady_clock::now();
    int done = 0;
    do {
        check(one(), "bench-attest-cpu: a verification failed");
        ++done;
    } while (std::chrono::steady_clock::now() - begin < kRound);
    return done / std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void compare(const char* name, const std::function<bool()>& ours, const std::function<bool()>& bare) {
    std::vector<double> a, b;
    for (int i = 0; i < g_rounds; ++i) {
        a.push_back(per_second(ours));
        b.push_back(per_second(bare));
    }
    std::ranges::sort(a);
    std::ranges::sort(b);
    const std::size_t middle = a.size() / 2;
    std::printf("cpu.%s.holdfast %.0f /s\ncpu.%s.openssl %.0f /s\ncpu.%s.ratio %.3f\n", name, a[middle], name,
                b[middle], name, a[middle] / b[middle]);
}

struct Signed {
    PublicKey key;
    HashAlg hash;
    Buffer first, second, message;
    [[nodiscard]] bool holds() const {
        return verify(key, {.scheme = Scheme::Ecdsa, .hash = hash, .first = first, .second = second}, message)
            .has_value();
    }
};
Buffer copy(std::span<const std::byte> bytes) { return {bytes.begin(), bytes.end()}; }
Signed p256(const PublicKey& key, std::span<const std::byte> signature, std::span<const std::byte> message) {
    return {key, HashAlg::Sha256, copy(signature.first(32)), copy(signature.subspan(32)), copy(message)};
}

void snp_bench(const std::filesystem::path& folder) {
    const Buffer report = read(folder / "snp/genoa-v3.report.bin");
    const Buffer vcek = read(folder / "snp/genoa-v3.vcek.der");
    std::vector<Certificate> roots, helpers;
    const auto amd = *parse_certificates(read(folder / "certs/amd/genoa_ask_ark_asvk.pem"));
    for (const Certificate& one : amd) {
        (one.is_self_issued() ? roots : helpers).push_back(one);
    }
    auto verifier = std::move(*ChainVerifier::create(roots));
    const ChainRequest request{.presented = vcek, .helpers = helpers, .at = 1'780'000'000};
    const auto parsed = snp::parse_report(report);
    Buffer r = copy((*parsed)->signature.first(48));
    Buffer s = copy((*parsed)->signature.subspan(72, 48));
    std::ranges::reverse(r);
    std::ranges::reverse(s);
    const Signed bare{*parse_certificates(vcek)->front().key(), HashAlg::Sha384, r, s,
                      copy((*parsed)->signed_part)};
    compare(
        "snp",
        [&] {
            Findings findings;
            const auto again = snp::parse_report(report);
            const auto authentic = snp::authenticate(*again, request, verifier, findings);
            if (authentic) snp::appraise(*authentic, {}, findings);
            return findings.is_accepted();
        },
        [&] { return bare.holds(); });
}

void tdx_bench(const std::filesystem::path& folder) {
    const Buffer bytes = read(folder / "tdx/upToDate-v4.quote.dat");
    const Buffer json = read(folder / "tdx/upToDate-v4.collateral.json");
    const auto roots = *parse_certificates(read(folder / "certs/intel/sgx_root_ca.der"));
    auto verifier = std::move(*ChainVerifier::create(roots));
    const auto bundle = std::move(*tdx::parse_bundle(text_of(json)));
    constexpr std::int64_t kAt = 1'751'328'000;
    const ChainRequest known{.presented = {}, .helpers = {}, .crls = bundle.crls, .at = kAt};
    const auto quote = tdx::parse_quote(bytes);
    const tdx::Quote& q = **quote;
    const auto signer =
        *parse_certificates(std::as_bytes(std::span{bundle.tcb_info->issuer_chain}))->front().key();
    const std::array bare{
        p256(*PublicKey::ec(KeyKind::P256, q.attestation_key.first(32), q.attestation_key.subspan(32)),
             q.signature, q.signed_part),
        p256(*parse_certificates(q.pck_chain)->front().key(), q.quoting_enclave_signature,
             q.quoting_enclave.raw),
        p256(signer, bundle.tcb_info->signature, std::as_bytes(std::span{bundle.tcb_info->body})),
        p256(signer, bundle.qe_identity->signature, std::as_bytes(std::span{bundle.qe_identity->body}))};
    compare(
        "tdx",
        [&] {
            Findings findings;
            const auto again = tdx::parse_quote(bytes);
            const auto authentic = tdx::authenticate(*again, known, verifier, findings);
            if (!authentic) return false;
            const tdx::Collateral collateral{
                .tcb_info = tdx::authenticate_tcb_info(*bundle.tcb_info, known, verifier, findings),
                .qe_identity = tdx::authenticate_qe_identity(*bundle.qe_identity, known, verifier, findings)};
            return tdx::appraise(*authentic, collateral, {}, kAt, findings) == tdx::TcbStatus::UpToDate &&
                   findings.is_accepted();
        },
        [&] { return std::ranges::all_of(bare, &Signed::holds); });
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: bench-attest-cpu DIR [--quick]\n");
        return 2;
    }
    if (argc > 2) g_rounds = 5;
    snp_bench(argv[1]);
    tdx_bench(argv[1]);
    return 0;
}
