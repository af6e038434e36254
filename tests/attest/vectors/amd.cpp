// SPDX-License-Identifier: Apache-2.0
#include "tests/attest/vectors/amd.hpp"

#include "sys/sha2.hpp"
#include "sys/wire/endian.hpp"

namespace holdfast::attest::vectors {
namespace {

Json tcb_json(const snp::Tcb& tcb) {
    Json json{{"bl", tcb.bootloader}, {"tee", tcb.tee}, {"snp", tcb.snp}, {"ucode", tcb.microcode}};
    if (tcb.fmc) json["fmc"] = *tcb.fmc;
    return json;
}

std::string text_of(const snp::FirmwareVersion& version) {
    return std::to_string(version.major) + "." + std::to_string(version.minor) + "." + std::to_string(version.build);
}

/// As the bytes of the report.
std::string little_endian_hex(std::uint64_t value) {
    const Le<std::uint64_t> ordered{value};
    return hex(std::as_bytes(std::span{&ordered, 1}));
}

}  // namespace

AmdChain::AmdChain(const std::vector<Bytes>& chains, const std::vector<Bytes>& crls) {
    std::vector<Certificate> roots;
    for (const Bytes& file : chains) {
        const auto certificates = parse_certificates(file);
        if (!certificates) throw BadCase{certificates.error().what};
        for (const Certificate& one : *certificates) (one.is_self_issued() ? roots : helpers_).push_back(one);
    }
    for (const Bytes& file : crls) {
        auto crl = Crl::parse(file);
        if (!crl) throw BadCase{crl.error().what};
        crls_.push_back(std::move(*crl));
    }
    auto verifier = ChainVerifier::create(roots);
    if (!verifier) throw BadCase{verifier.error().what};
    verifier_ = std::move(*verifier);
}

ChainRequest AmdChain::request(std::span<const std::byte> presented, std::int64_t at) const {
    return {.presented = presented, .helpers = helpers_, .crls = crls_, .at = at};
}

Json snp_fields(const snp::Report& report, std::optional<snp::Product> product) {
    Json json{{"version", report.version},
              {"guest_svn", report.guest_svn},
              {"policy", report.policy},
              {"vmpl", report.vmpl},
              {"plat_info", report.platform_info},
              {"key_info", report.key_info},
              {"signature_algo", report.signature_algorithm},
              {"family_id", hex(report.family_id)},
              {"image_id", hex(report.image_id)},
              {"report_data", hex(report.report_data)},
              {"measurement", hex(report.measurement)},
              {"host_data", hex(report.host_data)},
              {"id_key_digest", hex(report.id_key_digest)},
              {"author_key_digest", hex(report.author_key_digest)},
              {"report_id", hex(report.report_id)},
              {"report_id_ma", hex(report.report_id_ma)},
              {"chip_id", hex(report.chip_id)},
              {"current_version", text_of(report.current_firmware)},
              {"committed_version", text_of(report.committed_firmware)}};
    if (product) {
        json["current_tcb"] = tcb_json(snp::tcb_of(*product, report.current_tcb));
        json["reported_tcb"] = tcb_json(snp::tcb_of(*product, report.reported_tcb));
        json["committed_tcb"] = tcb_json(snp::tcb_of(*product, report.committed_tcb));
        json["launch_tcb"] = tcb_json(snp::tcb_of(*product, report.launch_tcb));
    }
    if (report.cpu) json["cpuid_fms"] = {report.cpu->family, report.cpu->model, report.cpu->stepping};
    if (report.mitigations) {
        json["launch_mit_vector"] = little_endian_hex(report.mitigations->launch);
        json["current_mit_vector"] = little_endian_hex(report.mitigations->current);
    }
    return json;
}

}  // namespace holdfast::attest::vectors
