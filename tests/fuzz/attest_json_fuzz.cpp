// SPDX-License-Identifier: Apache-2.0
// JSON of anybody: collateral as the service, as bundles and as its parts have it, and Azure's evidence.
#include "attest/formats/azure/evidence.hpp"
#include "attest/formats/azure/hcl.hpp"
#include "attest/formats/tdx/collateral_json.hpp"
#include "attest/text/encoding.hpp"

using namespace holdfast::attest;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span{data, size});
    const std::string_view text = text_of(bytes);
    if (const auto statement = tdx::parse_statement(text, "tcbInfo", "")) {
        [[maybe_unused]] const auto info = tdx::read_tcb_info(statement->body);
    }
    [[maybe_unused]] const auto info = tdx::read_tcb_info(text);
    [[maybe_unused]] const auto identity = tdx::read_qe_identity(text);
    [[maybe_unused]] const auto bundle = tdx::parse_bundle(text);
    if (const auto evidence = azure::parse_evidence(text)) {
        [[maybe_unused]] const auto inner = azure::parse_hcl_report(evidence->hcl_report);
    }
    if (const auto hcl = azure::parse_hcl_report(bytes)) {
        [[maybe_unused]] const auto key = azure::attestation_key_of(**hcl);
    }
    return 0;
}
