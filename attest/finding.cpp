// SPDX-License-Identifier: Apache-2.0
#include "attest/finding.hpp"

#include <algorithm>
#include <array>

#include "sys/result.hpp"

namespace holdfast::attest {
namespace {

constexpr std::size_t kMostFindings = 256;
constexpr std::size_t kLongestDetail = 240;

constexpr std::array kRows{
    // TPM quotes and certifications
    CodeRow{Code::TpmMalformed, "tpm.malformed", Stage::Parse, "a TPM structure is malformed"},
    // Event logs
    CodeRow{Code::LogMalformed, "log.malformed", Stage::Parse, "the event log is malformed"},
    // IMA lists
    CodeRow{Code::ImaMalformed, "ima.malformed", Stage::Parse, "the IMA list is malformed"},
    // Certificates

    // SEV-SNP

    // TDX

    // Azure HCL
};

consteval bool in_order() {
    for (std::size_t i = 0; i < kRows.size(); ++i) {
        if (static_cast<std::size_t>(kRows[i].code) != i) return false;
    }
    return kRows.size() == static_cast<std::size_t>(Code::Count_);
}
static_assert(in_order(), "each code has its row, in the order of the enum");

}  // namespace

std::span<const CodeRow> code_table() noexcept { return kRows; }

const CodeRow& row_of(Code code) noexcept {
    const auto index = static_cast<std::size_t>(code);
    check(index < kRows.size(), "row of a code that there is not");
    return kRows[index];
}

void Findings::add(Code code, std::string_view detail) {
    const Stage stage = row_of(code).stage;
    if (stage != Stage::Note) accepted_ = false;
    if (stage != Stage::Note && stage != Stage::Appraise) authentic_ = false;
    if (findings_.size() == kMostFindings) {
        ++left_out_;
        return;
    }
    std::string text{detail.substr(0, kLongestDetail)};
    std::ranges::replace_if(text, [](char c) { return c < ' ' || c > '~'; }, '?');
    findings_.push_back({code, std::move(text)});
}

bool Findings::has(Code code) const noexcept {
    return std::ranges::find(findings_, code, &Finding::code) != findings_.end();
}

bool Findings::is_authentic() const noexcept { return authentic_; }
bool Findings::is_accepted() const noexcept { return accepted_; }

}  // namespace holdfast::attest
