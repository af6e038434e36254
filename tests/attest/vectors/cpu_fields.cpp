// SPDX-License-Identifier: Apache-2.0
#include "tests/attest/vectors/cpu_fields.hpp"

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
    return std::to_string(version.major) + "." + std::to_string(version.minor) + "." +
           std::to_string(version.build);
}

/// As the bytes of the report.
std::string little_endian_hex(std::uint64_t value) {
    const Le<std::uint64_t> ordered{value};
    return hex(std::as_bytes(std::span{&ordered, 1}));
}

}  // namespace

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

Json tdx_fields(const tdx::Quote& quote) {
    Json json{{"version", quote.version},
              {"tee_type", quote.tee_type},
              {"qe_isvsvn", quote.quoting_enclave.isv_svn}};
    if (const auto* const td = quote.td()) {
        json.update({{"tee_tcb_svn", hex(td->tee_tcb_svn)},
                     {"mrseam", hex(td->mr_seam)},
                     {"mrsignerseam", hex(td->mr_signer_seam)},
                     {"seamattributes", hex(td->seam_attributes)},
                     {"tdattributes", hex(td->td_attributes)},
                     {"xfam", hex(td->xfam)},
                     {"mrtd", hex(td->mrtd)},
                     {"mrconfigid", hex(td->mr_config_id)},
                     {"mrowner", hex(td->mr_owner)},
                     {"mrownerconfig", hex(td->mr_owner_config)},
                     {"reportdata", hex(td->report_data)}});
        for (std::size_t i = 0; i < td->rtmr.size(); ++i) json["rtmr" + std::to_string(i)] = hex(td->rtmr[i]);
        if (td->tee_tcb_svn2) json["tee_tcb_svn2"] = hex(*td->tee_tcb_svn2);
        if (td->mr_service_td) json["mrservicetd"] = hex(*td->mr_service_td);
    }
    if (const auto pck = tdx::claimed_pck(quote)) {
        json["fmspc"] = hex(pck->fmspc);
        json["pck_tcb_components"] = pck->components;
        json["pcesvn"] = pck->pce_svn;
    }
    return json;
}

}  // namespace holdfast::attest::vectors
