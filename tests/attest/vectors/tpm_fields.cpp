// SPDX-License-Identifier: Apache-2.0
#include "tests/attest/vectors/tpm_fields.hpp"

#include <fmt/format.h>

#include "sys/sha2.hpp"

namespace holdfast::attest::vectors {
namespace {

Json selection_of(const tpm::QuoteBody& body) {
    Json all = Json::array();
    for (const tpm2::PcrBank& bank : body.selection) {
        const auto alg = known_hash(bank.alg);
        Json pcrs = Json::array();
        for (unsigned pcr = 0; pcr < 32; ++pcr) {
            if ((bank.pcrs >> pcr & 1) != 0) pcrs.push_back(pcr);
        }
        all.push_back({alg ? std::string{hash_name(*alg)} : fmt::format("{:#06x}", bank.alg), pcrs});
    }
    return all;
}

}  // namespace

Json fields_of(const tpm::Attest& attest) {
    Json fields{{"magic", fmt::format("{:#010x}", attest.magic)},
                {"type", fmt::format("{:#06x}", attest.type)},
                {"signer", hex(attest.signer)},
                {"extra", hex(attest.extra)},
                {"clock", attest.clock_info.clock},
                {"reset", attest.clock_info.reset_count},
                {"restart", attest.clock_info.restart_count},
                {"safe", attest.clock_info.safe ? 1 : 0},
                {"fw", fmt::format("{:#018x}", attest.firmware)}};
    if (const auto* const quote = std::get_if<tpm::QuoteBody>(&attest.body)) {
        fields["sel"] = selection_of(*quote);
        fields["pcrDigest"] = hex(quote->pcr_digest);
    }
    if (const auto* const nv = std::get_if<tpm::NvBody>(&attest.body)) {
        fields["indexName"] = hex(nv->index_name);
        fields["offset"] = nv->offset;
        fields["nvContents"] = hex(nv->contents);
    }
    return fields;
}

std::optional<tpm::LastSeen> last_seen_of(const Case& test) {
    const Json& json = test.json();
    if (!json.contains("state") || !json["state"].contains("last_seen")) return std::nullopt;
    const Json& seen = json["state"]["last_seen"];
    return tpm::LastSeen{.clock = seen.at("clock").get<std::uint64_t>(),
                         .reset_count = seen.at("reset_count").get<std::uint32_t>(),
                         .restart_count = seen.at("restart_count").get<std::uint32_t>()};
}

std::vector<tpm::GivenPcrs> given(const Pcrs& pcrs) { return {tpm::GivenPcrs{.bank = 0, .values = pcrs}}; }

}  // namespace holdfast::attest::vectors
