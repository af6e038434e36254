// SPDX-License-Identifier: Apache-2.0
// A verdict as one page that needs nothing else: for the file of whoever has to answer for it later.
#include <fmt/format.h>

#include "cli/files.hpp"
#include "cli/output.hpp"
#include "cli/verify.hpp"
#include "sys/markup.hpp"

namespace holdfast::cli {
namespace {

using attest::Stage;

constexpr std::string_view kHead =
    "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\n"
    "<style>body{font:15px/1.45 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}"
    "h1{font-size:1.3em}section{border-left:4px solid #bbb;padding:.2em 1em;margin:1em 0}"
    ".good{border-color:#2a7d2a}.bad{border-color:#b3261e}.note{border-color:#c98a00}"
    "td,th{text-align:left;vertical-align:top;padding:.1em 1em .1em 0;font-weight:normal}th{color:#666}"
    "td{font-family:ui-monospace,monospace;overflow-wrap:anywhere;white-space:pre-wrap}</style>\n";

/// Whatever the evidence says is text, and never a part of the page.
void add_facts(const Facts& facts, std::string& page) {
    page += "<table>";
    for (const auto& [name, value] : facts.items()) {
        page += fmt::format("<tr><th>{}<td>", escaped(name));
        if (value.is_object()) add_facts(value, page);
        else page += escaped(value.is_string() ? value.get<std::string>() : value.dump());
    }
    page += "</table>";
}

void add_stage(const attest::Findings& findings, Stage stage, std::string_view words, std::string& page) {
    std::string lines;
    for (const attest::Finding& finding : findings.list()) {
        const attest::CodeRow& row = attest::row_of(finding.code);
        if (row.stage != stage) continue;
        lines += fmt::format("<tr><th>{}<td>{}<td>{}", row.name, escaped(row.title), escaped(finding.detail));
    }
    const bool note = stage == Stage::Note;
    if (lines.empty() && note) return;
    page += fmt::format("<section class={}><h2>{}</h2><table>{}</table></section>\n",
                        lines.empty() ? "good"
                        : note        ? "note"
                                      : "bad",
                        words, lines.empty() ? "<tr><td>nothing speaks against it" : lines);
}

}  // namespace

void write_html(const std::string& path, const VerifyOptions& options, const Verdict& verdict) {
    const bool accepted = verdict.findings.is_accepted();
    std::string page{kHead};
    page += fmt::format("<title>{0}: {1}</title><h1>{0}: {1}</h1>\n", escaped(printable(options.file)),
                        accepted ? "accepted" : "refused");
    // As in the terminal: what was not reached has no word on it.
    bool reached = true;
    for (const auto& [stage, words] : {std::pair{Stage::Parse, "Well-formed"},
                                       std::pair{Stage::Authenticate, "Signed by whom the policy trusts"},
                                       std::pair{Stage::Bind, "Bound to nonce and measurements"},
                                       std::pair{Stage::Appraise, "As the policy asks"}}) {
        if (!reached) break;
        add_stage(verdict.findings, stage, words, page);
        for (const attest::Finding& finding : verdict.findings.list()) {
            if (attest::row_of(finding.code).stage == stage && stage <= Stage::Authenticate) reached = false;
        }
    }
    add_stage(verdict.findings, Stage::Note, "Not known", page);
    page += "<section><h2>What the evidence says</h2>";
    add_facts(verdict.facts, page);
    page += "</section></html>\n";
    write_file(path, std::as_bytes(std::span{page}));
}

}  // namespace holdfast::cli
