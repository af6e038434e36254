// SPDX-License-Identifier: Apache-2.0
// The kinds of cases: one function and one file each, and one line in kinds.cpp.
#pragma once

#include <string_view>

#include "tests/attest/vectors/case.hpp"

namespace holdfast::attest::vectors {

struct Kind {
    std::string_view name;     ///< "kind" in cases.json
    std::string_view subject;  ///< the file that a change applies to where it names none
    Outcome (*judge)(const Case&);
};
// One line a kind, beside its line in kinds.cpp.
Outcome judge_tpm_quote(const Case& test);
Outcome judge_tpm_quote_json(const Case& test);
Outcome judge_eventlog(const Case& test);
Outcome judge_ccel(const Case& test);
Outcome judge_ima(const Case& test);
Outcome judge_snp(const Case& test);
Outcome judge_tdx(const Case& test);
Outcome judge_azure(const Case& test);

/// None: nobody knows the kind.
[[nodiscard]] const Kind* find_kind(std::string_view name);

}  // namespace holdfast::attest::vectors
