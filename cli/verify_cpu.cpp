// SPDX-License-Identifier: Apache-2.0
// What is told of a CPU's report, alone or in the evidence of a VM.
#include "attest/verify/cpu.hpp"
#include "cli/verify.hpp"
#include "sys/sha2.hpp"

namespace holdfast::cli {

void tell_snp(const attest::SnpReport& report, Facts& facts) {
    if (!report.report) return;
    const attest::snp::Report& said = **report.report;
    facts["version"] = said.version;
    facts["vmpl"] = said.vmpl;
    facts["launch_digest"] = hex(said.measurement);
    facts["report_data"] = hex(said.report_data);
    facts["chip_id"] = hex(said.chip_id);
}

void tell_tdx(const attest::TdxReport& report, Facts& facts) {
    if (!report.quote) return;
    facts["version"] = (*report.quote)->version;
    if (const attest::tdx::TdReport* const td = (*report.quote)->td()) {
        facts["mrtd"] = hex(td->mrtd);
        for (const auto& rtmr : td->rtmr) facts["rtmr"].push_back(hex(rtmr));
        facts["report_data"] = hex(td->report_data);
    }
    if (report.tcb) facts["tcb_status"] = attest::tdx::status_name(*report.tcb);
}

}  // namespace holdfast::cli
