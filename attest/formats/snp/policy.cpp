// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/snp/policy.hpp"

#include <algorithm>
#include <string>

#include "sys/sha2.hpp"

namespace holdfast::attest::snp {
namespace {

bool is_one_of(std::span<const std::byte> value, std::span<const Policy::Value> allowed) {
    return allowed.empty() ||
           std::ranges::any_of(allowed, [&](const auto& one) { return std::ranges::equal(one, value); });
}

void appraise_guest(const Report& report, const Policy& policy, Findings& findings) {
    if ((report.policy & guest_policy::kReservedOne) == 0) {
        findings.add(Code::SnpPolicyFormat, "bit 17 is not set");
    }
    if ((report.policy & guest_policy::kDebug) != 0 && !policy.allow_debug) {
        findings.add(Code::SnpDebug, "guest policy bit 19 is set");
    }
    if ((report.policy & guest_policy::kMigrateMa) != 0 && !policy.allow_migration_agent) {
        findings.add(Code::SnpMigration, "guest policy bit 18 is set");
    }
    if (report.vmpl > policy.max_vmpl) {
        findings.add(Code::SnpVmpl, "VMPL " + std::to_string(report.vmpl) + ", allowed up to " +
                                        std::to_string(policy.max_vmpl));
    }
    if (report.guest_svn < policy.min_guest_svn) {
        findings.add(Code::SnpMinGuestSvn,
                     std::to_string(report.guest_svn) + ", at least " + std::to_string(policy.min_guest_svn));
    }
    if (!is_one_of(report.measurement, policy.measurements)) {
        findings.add(Code::SnpMeasurement, hex(report.measurement));
    }
    if (policy.host_data && !std::ranges::equal(*policy.host_data, report.host_data)) {
        findings.add(Code::SnpHostData, hex(report.host_data));
    }
    if (!is_one_of(report.id_key_digest, policy.id_keys)) {
        findings.add(Code::SnpIdKey, hex(report.id_key_digest));
    }
    // Without AUTHOR_KEY_EN nobody has certified the identity key, whatever the digest says.
    if (!policy.author_keys.empty() &&
        (!report.author_key_enabled() || !is_one_of(report.author_key_digest, policy.author_keys))) {
        findings.add(Code::SnpAuthorKey, hex(report.author_key_digest));
    }
}

/// The firmware that is committed can no longer be rolled back; what is reported is at most that, and what is
/// in force at least that (56860, section 3.3).
void appraise_order(const Endorsed& endorsed, Findings& findings) {
    const Product product = endorsed.endorsement.product;
    const Tcb current = tcb_of(product, endorsed.report.current_tcb);
    const Tcb committed = tcb_of(product, endorsed.report.committed_tcb);
    const Tcb reported = tcb_of(product, endorsed.report.reported_tcb);
    if (!is_at_least(current, committed)) findings.add(Code::SnpTcbOrder, "committed is above current");
    if (!is_at_least(current, reported)) findings.add(Code::SnpTcbOrder, "reported is above current");
}

void appraise_platform(const Endorsed& endorsed, const Policy& policy, Findings& findings) {
    const Report& report = endorsed.report;
    const Tcb reported = tcb_of(endorsed.endorsement.product, report.reported_tcb);
    if (policy.min_tcb && !is_at_least(reported, *policy.min_tcb)) {
        findings.add(Code::SnpMinTcb, text_of_tcb(reported) + "; at least " + text_of_tcb(*policy.min_tcb));
    }
    const Tcb launch = tcb_of(endorsed.endorsement.product, report.launch_tcb);
    if (policy.min_launch_tcb && !is_at_least(launch, *policy.min_launch_tcb)) {
        findings.add(Code::SnpMinLaunchTcb,
                     text_of_tcb(launch) + "; at least " + text_of_tcb(*policy.min_launch_tcb));
    }
    // What is committed: newer firmware that is not could be taken back at any time.
    if (policy.min_firmware && report.committed_firmware < *policy.min_firmware) {
        findings.add(Code::SnpMinBuild);
    }
    if ((report.platform_info & policy.platform_demanded) != policy.platform_demanded ||
        (report.platform_info & policy.platform_forbidden) != 0) {
        findings.add(Code::SnpPlatform, "PLATFORM_INFO " + std::to_string(report.platform_info));
    }
    const auto mitigations = report.mitigations.value_or(MitigationVectors{});
    const std::uint64_t in_force = mitigations.launch & mitigations.current;
    if ((in_force & policy.mitigations_demanded) != policy.mitigations_demanded) {
        findings.add(Code::SnpMitigations, "in force " + std::to_string(in_force));
    }
    if (!policy.chips.empty() && (report.chip_id_masked() || !is_one_of(report.chip_id, policy.chips))) {
        findings.add(Code::SnpChipNotAllowed, hex(report.chip_id));
    }
}

}  // namespace

void appraise(const Authenticated<Endorsed>& report, const Policy& policy, Findings& findings) {
    appraise_guest(report->report, policy, findings);
    appraise_order(*report, findings);
    appraise_platform(*report, policy, findings);
}

}  // namespace holdfast::attest::snp
