// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/tdx/policy.hpp"

#include <algorithm>
#include <string>

#include "attest/formats/tdx/tcb.hpp"
#include "sys/sha2.hpp"

namespace holdfast::attest::tdx {
namespace {

using Bytes = std::span<const std::byte>;

bool is_one_of(Bytes value, std::span<const Policy::Value> allowed) {
    return std::ranges::any_of(allowed, [&](const auto& one) { return std::ranges::equal(one, value); });
}
bool is_zero(Bytes bytes) {
    return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; });
}
bool differs(Bytes value, const std::optional<Policy::Value>& expected) {
    return expected && !std::ranges::equal(*expected, value);
}

void appraise_attributes(const TdReport& td, const Policy& policy, Findings& findings) {
    const std::uint64_t bits = td.attribute_bits();
    if ((bits & attributes::kDebugGroup) != 0 && !policy.allow_debug) {
        findings.add(Code::TdxDebug, "TD attributes " + hex(td.td_attributes));
    }
    if ((bits & attributes::kSeptVeDisable) == 0 && !policy.allow_sept_ve) {
        findings.add(Code::TdxSeptVe, "SEPT_VE_DISABLE is not set");
    }
    if ((bits & attributes::kMigratable) != 0 && !policy.allow_migratable) {
        findings.add(Code::TdxMigratable, "TD attributes bit 29 is set");
    }
    if ((bits & policy.attributes_forbidden) != 0) {
        findings.add(Code::TdxAttributes, "TD attributes " + hex(td.td_attributes));
    }
    if (policy.xfam_allowed && (td.xfam_bits() & ~*policy.xfam_allowed) != 0) {
        findings.add(Code::TdxXfam, hex(td.xfam));
    }
}

void appraise_measurements(const TdReport& td, const Policy& policy, Findings& findings) {
    if (!policy.mrtds.empty() && !is_one_of(td.mrtd, policy.mrtds)) findings.add(Code::TdxMrtd, hex(td.mrtd));
    for (std::size_t i = 0; i < td.rtmr.size(); ++i) {
        if (differs(td.rtmr[i], policy.rtmrs[i])) {
            findings.add(Code::TdxRtmr, "RTMR" + std::to_string(i) + " " + hex(td.rtmr[i]));
        }
    }
    if (differs(td.mr_config_id, policy.mr_config_id)) {
        findings.add(Code::TdxConfig, "MRCONFIGID " + hex(td.mr_config_id));
    }
    if (differs(td.mr_owner, policy.mr_owner)) findings.add(Code::TdxConfig, "MROWNER " + hex(td.mr_owner));
    if (differs(td.mr_owner_config, policy.mr_owner_config)) {
        findings.add(Code::TdxConfig, "MROWNERCONFIG " + hex(td.mr_owner_config));
    }
    if (td.mr_service_td && !is_zero(*td.mr_service_td) &&
        !is_one_of(*td.mr_service_td, policy.service_tds)) {
        findings.add(Code::TdxServiceTd, "MRSERVICETD " + hex(*td.mr_service_td));
    }
}

void appraise_dates(const Validity& validity, const Policy& policy, std::int64_t at, const std::string& what,
                    Findings& findings) {
    if (at < validity.issued) findings.add(Code::TdxCollateralEarly, what);
    if (at > validity.next_update) findings.add(Code::TdxCollateralStale, what);
    if (validity.evaluation_number < policy.min_evaluation_number) {
        findings.add(Code::TdxCollateralOlder, what + ": evaluation number " +
                                                   std::to_string(validity.evaluation_number) + " after " +
                                                   std::to_string(policy.min_evaluation_number));
    }
}

void note_advisories(std::span<const std::string> advisories, Findings& findings) {
    if (advisories.empty()) return;
    std::string list;
    for (const std::string& one : advisories) list += (list.empty() ? "" : " ") + one;
    findings.add(Code::TdxAdvisories, list);
}

/// The module's part of the status; none: that of the platform is all there is.
std::optional<TcbStatus> module_status(const TcbInfo& info, const TdReport& td, Findings& findings) {
    const ModuleMatch module = match_module(info, td);
    if (!module.known) findings.add(Code::TdxModule, "MRSIGNERSEAM " + hex(td.mr_signer_seam));
    if (!module.known || !module.has_levels) return std::nullopt;
    if (module.level == nullptr) {
        findings.add(Code::TdxNoTcbLevel, "the TDX module's version is below all");
        return TcbStatus::OutOfDate;
    }
    note_advisories(module.level->advisories, findings);
    return module.level->status;
}

std::optional<TcbStatus> platform_status(const Certified& certified, const TdReport& td, const TcbInfo& info,
                                         Findings& findings) {
    if (info.id != "TDX") {
        findings.add(Code::TdxCollateralKind, "TCB info for " + (info.id.empty() ? "SGX" : info.id));
        return std::nullopt;
    }
    // As bytes: both spellings of hexadecimal occur.
    if (!std::ranges::equal(info.fmspc, certified.pck.fmspc)) {
        findings.add(Code::TdxFmspc,
                     "of the platform " + hex(certified.pck.fmspc) + ", of the TCB info " + hex(info.fmspc));
        return std::nullopt;
    }
    if (!std::ranges::equal(info.pce_id, certified.pck.pce_id)) {
        findings.add(Code::TdxPceId, hex(certified.pck.pce_id));
        return std::nullopt;
    }
    const auto module = module_status(info, td, findings);
    const TcbLevel* const level = platform_level(info, certified.pck, td.tee_tcb_svn);
    if (level == nullptr) {
        findings.add(Code::TdxNoTcbLevel, "TEE TCB " + hex(td.tee_tcb_svn));
        return std::nullopt;
    }
    note_advisories(level->advisories, findings);
    return module ? converge(level->status, *module) : level->status;
}

/// The quoting enclave's part of the status; none: it is not the one that Intel names, or nothing is known of
/// it.
std::optional<TcbStatus> qe_status(const EnclaveReport& qe, const QeIdentity& identity, Findings& findings) {
    if (identity.id != "TD_QE") {
        findings.add(Code::TdxCollateralKind, "identity of the enclave " + identity.id);
        return std::nullopt;
    }
    if (!std::ranges::equal(qe.mr_signer, identity.mr_signer) || qe.isv_prod_id != identity.isv_prod_id ||
        !equal_masked(qe.misc_select, identity.misc_select, identity.misc_select_mask) ||
        !equal_masked(qe.attributes, identity.attributes, identity.attributes_mask)) {
        findings.add(Code::TdxQeIdentity,
                     "MRSIGNER " + hex(qe.mr_signer) + ", product " + std::to_string(qe.isv_prod_id));
        return std::nullopt;
    }
    const IsvLevel* const level = isv_level(identity.levels, qe.isv_svn);
    if (level == nullptr) {
        findings.add(Code::TdxNoTcbLevel, "the quoting enclave's version is below all");
        return TcbStatus::OutOfDate;
    }
    note_advisories(level->advisories, findings);
    return level->status;
}

void note_missing(const TdReport& td, const Collateral& collateral, const Policy& policy,
                  Findings& findings) {
    if (!collateral.tcb_info) {
        findings.add(policy.collateral_demanded ? Code::TdxCollateralDemanded : Code::TdxNoTcbInfo,
                     "TCB info");
        // Intel's own modules have a signer of zeroes; any other needs somebody who knows it.
        if (!is_zero(td.mr_signer_seam))
            findings.add(Code::TdxModule, "MRSIGNERSEAM " + hex(td.mr_signer_seam));
    }
    if (!collateral.qe_identity) {
        findings.add(policy.collateral_demanded ? Code::TdxCollateralDemanded : Code::TdxNoQeIdentity,
                     "QE identity");
    }
}

}  // namespace

std::optional<TcbStatus> appraise(const Authenticated<Certified>& quote, const Collateral& collateral,
                                  const Policy& policy, std::int64_t at, Findings& findings) {
    if (!policy.platforms.empty() && !is_one_of(quote->pck.ppid, policy.platforms)) {
        findings.add(Code::TdxPlatform, "PPID " + hex(quote->pck.ppid));
    }
    const TdReport* const td = quote->quote.td();
    if (td == nullptr) {
        findings.add(Code::TdxNotTdx);
        return std::nullopt;
    }
    appraise_attributes(*td, policy, findings);
    appraise_measurements(*td, policy, findings);
    note_missing(*td, collateral, policy, findings);
    std::optional<TcbStatus> status;
    if (collateral.tcb_info) {
        appraise_dates((*collateral.tcb_info)->validity, policy, at, "TCB info", findings);
        status = platform_status(*quote, *td, **collateral.tcb_info, findings);
    }
    if (collateral.qe_identity) {
        appraise_dates((*collateral.qe_identity)->validity, policy, at, "QE identity", findings);
        const auto part = qe_status(quote->quote.quoting_enclave, **collateral.qe_identity, findings);
        if (part && status) status = converge(*status, *part);
        else if (part && *part != TcbStatus::UpToDate) {
            findings.add(Code::TdxTcbStatus, "quoting enclave: " + std::string{status_name(*part)});
        }
    }
    if (status && std::ranges::find(policy.tcb_allowed, *status) == policy.tcb_allowed.end()) {
        findings.add(Code::TdxTcbStatus, status_name(*status));
    }
    return status;
}

}  // namespace holdfast::attest::tdx
