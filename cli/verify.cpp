// SPDX-License-Identifier: Apache-2.0
// holdfast verify: whether a piece of evidence is what the policy asks for. Exit status 0 accepted, 1
// refused, 2 unreadable.
#include "cli/verify.hpp"

#include <ctime>

#include <fmt/format.h>
#include <unistd.h>

#include "attest/text/encoding.hpp"
#include "cli/error.hpp"
#include "cli/output.hpp"

namespace holdfast::cli {
namespace {

using attest::Stage;

[[noreturn]] void bad_value(const char* flag, const std::string& value, const char* why, const char* fix) {
    throw Failure{Code::Value, fmt::format("{} '{}' cannot be used", flag, printable(value)), why, fix};
}

std::optional<Blob> nonce_of(const std::string& text) {
    if (text.empty()) return std::nullopt;
    auto nonce = attest::bytes_of_hex(text);
    if (!nonce) bad_value("--nonce", text, nonce.error().what, "give it in hexadecimal digits");
    return std::move(*nonce);
}

std::int64_t time_of(const std::string& text) {
    if (text.empty()) return std::time(nullptr);
    const auto at = attest::time_of_text(text);
    if (!at) bad_value("--at", text, at.error().what, "give a time in UTC: 2026-06-01T00:00:00Z");
    return *at;
}

Memory memory_of(const attest::tpm::ClockInfo& clock, std::uint64_t counter) {
    return {.clock = {.clock = clock.clock,
                      .reset_count = clock.reset_count,
                      .restart_count = clock.restart_count},
            .counter = counter};
}

const char* stage_words(Stage stage) {
    switch (stage) {
        case Stage::Parse: return "well-formed";
        case Stage::Authenticate: return "signed by whom the policy trusts";
        case Stage::Bind: return "bound to nonce and measurements";
        case Stage::Appraise: return "as the policy asks";
        case Stage::Note: return "not known";
    }
    return "";
}

const char* stage_name(Stage stage) {
    switch (stage) {
        case Stage::Parse: return "parse";
        case Stage::Authenticate: return "authenticate";
        case Stage::Bind: return "bind";
        case Stage::Appraise: return "appraise";
        case Stage::Note: return "note";
    }
    return "";
}

bool is_unreadable(const attest::Findings& findings) {
    for (const attest::Finding& finding : findings.list()) {
        if (attest::row_of(finding.code).stage == Stage::Parse) return true;
    }
    return false;
}

std::string_view verdict_word(const attest::Findings& findings) {
    if (is_unreadable(findings)) return "unreadable";
    return findings.is_accepted() ? "accepted" : "refused";
}

void print_json(const VerifyOptions& options, const Verdict& verdict) {
    Facts json{{"format", options.format.empty() ? "evidence" : options.format},
               {"verdict", verdict_word(verdict.findings)},
               {"authentic", verdict.findings.is_authentic()},
               {"findings", Facts::array()},
               {"findings_left_out", verdict.findings.left_out()},
               {"evidence", verdict.facts}};
    for (const attest::Finding& finding : verdict.findings.list()) {
        const attest::CodeRow& row = attest::row_of(finding.code);
        json["findings"].push_back({{"code", row.name},
                                    {"stage", stage_name(row.stage)},
                                    {"title", row.title},
                                    {"detail", finding.detail}});
    }
    write_text(1, json.dump(2) + '\n');
}

/// One branch of the tree: whether anything of the stage was found, and what. `reached`: the stage was looked
/// at.
void print_stage(const Paint& paint, const attest::Findings& findings, Stage stage, bool reached) {
    std::string lines;
    for (const attest::Finding& finding : findings.list()) {
        const attest::CodeRow& row = attest::row_of(finding.code);
        if (row.stage != stage) continue;
        lines += fmt::format(" │    {} {}{}{}\n", row.name, row.title, finding.detail.empty() ? "" : ": ",
                             finding.detail);
    }
    if (stage == Stage::Note) {
        if (!lines.empty()) print(" ├─ {}?{} {}\n{}", paint.yellow(), paint.off(), stage_words(stage), lines);
        return;
    }
    if (!lines.empty()) print(" ├─ {}✗{} {}\n{}", paint.red(), paint.off(), stage_words(stage), lines);
    else if (reached) print(" ├─ {}✓{} {}\n", paint.green(), paint.off(), stage_words(stage));
    else print(" ├─ {}-{} {}: not reached\n", paint.dim(), paint.off(), stage_words(stage));
}

/// Of whole evidence, a layer each; its PCRs are for --json.
void print_facts(const Facts& facts, int indent = 0) {
    for (const auto& [name, value] : facts.items()) {
        if (name == "pcrs") continue;
        if (value.is_object()) {
            print(" │    {:{}}{}\n", "", indent, name);
            print_facts(value, indent + 2);
        } else if (value.is_primitive()) {
            print(" │    {:{}}{:<20}{}\n", "", indent, name,
                  value.is_string() ? one_line(value.get<std::string>()) : value.dump());
        }
    }
}

void print_tree(const VerifyOptions& options, const Verdict& verdict) {
    const Paint paint{STDOUT_FILENO};
    const attest::Findings& findings = verdict.findings;
    print("{}{}{} ({})\n", paint.bold(), printable(options.file), paint.off(),
          options.format.empty() ? "evidence of a VM" : options.format);
    const bool readable = !is_unreadable(findings);
    print_stage(paint, findings, Stage::Parse, true);
    print_facts(verdict.facts);
    bool trusted = readable;
    for (const attest::Finding& finding : findings.list()) {
        if (attest::row_of(finding.code).stage == Stage::Authenticate) trusted = false;
    }
    print_stage(paint, findings, Stage::Authenticate, readable);
    print_stage(paint, findings, Stage::Bind, trusted);
    print_stage(paint, findings, Stage::Appraise, trusted);
    print_stage(paint, findings, Stage::Note, true);
    if (findings.left_out() > 0) print(" ├─ and {} findings more\n", findings.left_out());
    const bool accepted = findings.is_accepted();
    print(" └─ {}{}{}\n", accepted ? paint.green() : paint.red(), verdict_word(findings), paint.off());
}

}  // namespace

std::optional<Memory> Piece::memory_of(const std::string& signer) const {
    if (!memories.recall || signer.empty()) return std::nullopt;
    return memories.recall(signer);
}

void remember_if_accepted(const Memories& memories, const Verdict& verdict) {
    if (!memories.remember || !verdict.findings.is_accepted() || !verdict.seen) return;
    memories.remember(verdict.signer, memory_of(*verdict.seen, verdict.counter.value_or(0)));
    if (verdict.guest) memories.remember(verdict.guest->first, memory_of(verdict.guest->second, 0));
}

int show_verdict(const VerifyOptions& options, const Verdict& verdict) {
    if (options.json) print_json(options, verdict);
    else print_tree(options, verdict);
    if (is_unreadable(verdict.findings)) return kExitUsage;
    return verdict.findings.is_accepted() ? 0 : kExitFailure;
}

int verify(const VerifyOptions& options) {
    Piece piece{.options = options,
                .policy = read_policy(options.policy),
                .evidence = read_evidence(options.file),
                .nonce = nonce_of(options.nonce),
                .at = time_of(options.at)};
    // Only a policy of one's own making could do without: there is no key for it.
    piece.policy.quote.nonce_required = true;
    piece.memories = memories_in(piece.policy.last_seen);
    const Verdict verdict = options.format.empty() ? verify_evidence(piece, read_policy_files(piece.policy))
                                                   : verify_piece(piece);
    remember_if_accepted(piece.memories, verdict);
    if (!options.html.empty()) write_html(options.html, options, verdict);
    return show_verdict(options, verdict);
}

}  // namespace holdfast::cli
