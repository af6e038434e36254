// SPDX-License-Identifier: Apache-2.0
// How many TPM quotes a second one core verifies, beside what the same signature and the same hashes cost
// with OpenSSL alone; and how fast event logs are replayed. The key's chain is verified once and its key
// kept, as a verifier does.
#include <benchmark/benchmark.h>

#include "tests/unit/attest/fake_tpm.hpp"
#include "tests/unit/attest/logs.hpp"

namespace holdfast::attest {
namespace {

struct Made {
    explicit Made(test::FakeTpm::Key kind) : tpm{kind} {
        Hasher hasher{HashAlg::Sha256};
        for (std::uint32_t pcr = 0; pcr < 24; ++pcr) {
            pcrs.values[pcr] = test::Buffer(32, std::byte(pcr + 1));
            hasher.update(pcrs.values[pcr]);
        }
        const Digest digest = hasher.finish();
        test::Statement statement;
        statement.pcr_digest = {digest.bytes().begin(), digest.bytes().end()};
        attest = statement.encode();
        signature = tpm.sign(attest);
        key = tpm.public_area();
    }
    test::FakeTpm tpm;
    tpm::GivenPcrs pcrs;
    test::Buffer attest;
    test::Buffer signature;
    test::Buffer key;
};

void quote(benchmark::State& state, test::FakeTpm::Key kind) {
    const Made made{kind};
    const test::Buffer nonce = test::bytes("nonce");
    tpm::KeyMemory keys;
    const QuoteEvidence evidence{.attest = made.attest,
                                 .signature = made.signature,
                                 .key = made.key,
                                 .trust = {},
                                 .pcrs = {made.pcrs},
                                 .nonce = nonce,
                                 .event_log = {},
                                 .ima_list = {},
                                 .last_seen = {},
                                 .keys = &keys};
    for (auto _ : state) {
        Findings findings;
        benchmark::DoNotOptimize(verify_quote(evidence, {}, findings));
        check(findings.is_accepted(), "the quote is right");
    }
}

void openssl_alone(benchmark::State& state, test::FakeTpm::Key kind) {
    const Made made{kind};
    const auto key = PublicKey::from_spki(made.tpm.spki());
    const auto wire = *tpm::parse_signature(made.signature);
    const Signature signature{.scheme = made.tpm.is_rsa() ? Scheme::RsaPkcs1 : Scheme::Ecdsa,
                              .hash = HashAlg::Sha256,
                              .first = wire.first,
                              .second = wire.second};
    for (auto _ : state) {
        check(verify(*key, signature, made.attest).has_value(), "the signature is right");
        Hasher hasher{HashAlg::Sha256};
        for (const auto& [pcr, value] : made.pcrs.values) hasher.update(value);
        benchmark::DoNotOptimize(hasher.finish());
    }
}

BENCHMARK_CAPTURE(openssl_alone, rsa2048, test::FakeTpm::Key::Rsa2048);
BENCHMARK_CAPTURE(quote, rsa2048, test::FakeTpm::Key::Rsa2048);
BENCHMARK_CAPTURE(openssl_alone, p256, test::FakeTpm::Key::P256);
BENCHMARK_CAPTURE(quote, p256, test::FakeTpm::Key::P256);

void replay(benchmark::State& state, HashAlg bank) {
    test::LogWriter writer{{bank}};
    constexpr std::uint32_t kEvents = 10000;
    for (std::uint32_t i = 0; i < kEvents; ++i) writer.measure(i % 8, eventlog::ev::EFI_ACTION, "some event");
    const auto log = eventlog::parse_log(writer.bytes(), eventlog::Kind::Tcg);
    for (auto _ : state) benchmark::DoNotOptimize(eventlog::replay(*log, bank));
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kEvents * 2 * digest_size(bank)));
}
void hashes_alone(benchmark::State& state, HashAlg bank) {
    constexpr std::uint32_t kEvents = 10000;
    Digest pcr{.alg = bank};
    for (auto _ : state) {
        for (std::uint32_t i = 0; i < kEvents; ++i) pcr = extended(pcr, pcr.bytes());
        benchmark::DoNotOptimize(pcr);
    }
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kEvents * 2 * digest_size(bank)));
}
BENCHMARK_CAPTURE(hashes_alone, sha256, HashAlg::Sha256);
BENCHMARK_CAPTURE(replay, sha256, HashAlg::Sha256);
BENCHMARK_CAPTURE(hashes_alone, sha384, HashAlg::Sha384);
BENCHMARK_CAPTURE(replay, sha384, HashAlg::Sha384);

}  // namespace
}  // namespace holdfast::attest

BENCHMARK_MAIN();
