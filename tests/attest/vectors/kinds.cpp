// SPDX-License-Identifier: Apache-2.0
#include "tests/attest/vectors/kinds.hpp"

#include <algorithm>
#include <array>

namespace holdfast::attest::vectors {

namespace {

constexpr std::array kKinds{
    Kind{"tpm-quote", "attest", judge_tpm_quote},
    Kind{"tpm-quote-json", "evidence", judge_tpm_quote_json},
    Kind{"eventlog", "eventlog", judge_eventlog},
    Kind{"ccel", "ccel", judge_ccel},
    Kind{"ima", "ima", judge_ima},
    Kind{"snp", "report", judge_snp},
    Kind{"tdx", "quote", judge_tdx},
    Kind{"azure-hcl", "evidence", judge_azure},
};

}  // namespace

const Kind* find_kind(std::string_view name) {
    const auto* const row = std::ranges::find(kKinds, name, &Kind::name);
    return row == kKinds.end() ? nullptr : row;
}

}  // namespace holdfast::attest::vectors
