// SPDX-License-Identifier: Apache-2.0
// attest-cpu-evidence DIR: evidence of two VMs as `holdfast attest` would collect it on hosts of hardware
// tiers, DIR/sev-snp.cbor and DIR/tdx.cbor, with the roots to trust and what else a verifier needs.
// Synthetic: TPM, processors and their makers are the test's own.
#include <cstdio>
#include <fstream>

#include "sys/sha2.hpp"
#include "tests/unit/attest/fake_host.hpp"
#include "tests/unit/attest/fake_snp.hpp"
#include "tests/unit/attest/fake_tdx.hpp"

using namespace holdfast;
using namespace holdfast::attest;
using namespace holdfast::attest::test;

namespace {

void write(const std::string& path, std::span<const std::byte> bytes) {
    std::ofstream file{path, std::ios::binary};
    // SAFETY: bytes as char, for a C++ interface.
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    check(file.good(), "attest-cpu-evidence: a file cannot be written");
}

Buffer evidence_of(const FakeTpm& tpm, std::string_view tier, const Buffer& cpu) {
    const Buffer launch = encode(LaunchStatement{.at = static_cast<std::uint64_t>(kNow),
                                                 .nonce = filled(16, 1),
                                                 .name = "box",
                                                 .tier = std::string{tier},
                                                 .digest = filled(48, 7),
                                                 .shape = "shape\n",
                                                 .memory = 1U << 29,
                                                 .cpus = 2});
    Evidence parts{.host = {}, .anchor = std::nullopt, .launch = launch};
    parts.cpu = cpu;
    const Quoted host{tpm, copy(host_question(filled(16, 1), parts)), some_pcrs()};
    const Buffer host_part = encode(host.part());
    parts.host = host_part;
    return encode(parts);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: attest-cpu-evidence DIR\n");
        return 2;
    }
    const std::string folder = std::string{argv[1]} + '/';
    const FakeTpm tpm{FakeTpm::Key::P256};
    const Buffer measured = filled(48, 7);
    const Digest256 question = cpu_question(filled(16, 1), {});

    FakeSnp snp;
    std::ranges::copy(measured, snp.report.begin() + 0x90);
    std::ranges::copy(question, snp.report.begin() + 0x50);
    snp.sign();
    const std::vector chain{snp.endorsement(), snp.middle()};
    const Buffer endorsement = buffer(pem(chain));
    write(folder + "report", snp.report);
    write(folder + "vcek.pem", endorsement);
    write(folder + "ark.der", snp.root().der());
    const CpuPart snp_part{
        .tier = kTierSnp, .report = snp.report, .endorsement = endorsement, .event_log = {}};
    write(folder + "sev-snp.cbor", evidence_of(tpm, kTierSnp, encode(snp_part)));

    FakeTdx tdx;
    std::ranges::copy(measured, tdx.body.begin() + 136);
    std::ranges::copy(question, tdx.body.begin() + 520);
    const Buffer quote = tdx.quote();
    // Its collateral does not come along: the verifier has it.
    const CpuPart tdx_part{.tier = kTierTdx, .report = quote, .endorsement = {}, .event_log = {}};
    write(folder + "quote", quote);
    write(folder + "collateral.json", buffer(tdx.bundle()));
    write(folder + "intel.der", tdx.root().der());
    write(folder + "tdx.cbor", evidence_of(tpm, kTierTdx, encode(tdx_part)));
    const auto ak = tpm::parse_attestation_key(tpm.public_area());
    std::printf("%s\n", hex((*ak)->area->name).c_str());
    return 0;
}
