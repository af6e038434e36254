// SPDX-License-Identifier: Apache-2.0
// attest-vectors DIR: runs every case of DIR/cases.json and prints one line a case,
//     ID authentic=… policy=… expected=AUTHENTIC/POLICY ok|WRONG
// with `-` where a case gives no verdict. A field that differs is WRONG too. Why, and with --reasons all that
// was found, is on standard error. Exit status 1 when any case is WRONG.
#include <cstdio>
#include <fstream>
#include <iostream>

#include "tests/attest/vectors/kinds.hpp"

namespace holdfast::attest::vectors {
namespace {

/// The keys of "expect" that are not fields.
bool is_verdict(const std::string& key) {
    return key == "authentic" || key == "strict_policy" || key == "reasons" || key == "fields" ||
           key == "computed_by_us";
}

/// Where `actual` lacks or contradicts something of `expected`; empty: nowhere.
std::string difference(const Json& expected, const Json& actual, const std::string& where) {
    if (expected.is_object()) {
        for (const auto& [key, value] : expected.items()) {
            const std::string place = where.empty() ? key : where + "." + key;
            if (!actual.is_object() || !actual.contains(key)) return place + " is not there";
            if (auto found = difference(value, actual[key], place); !found.empty()) return found;
        }
        return {};
    }
    if (expected == actual) return {};
    return where + " is " + actual.dump() + " instead of " + expected.dump();
}

Json expected_fields(const Json& expect) {
    Json fields = expect.value("fields", Json::object());
    for (const auto& [key, value] : expect.items()) {
        if (!is_verdict(key)) fields[key] = value;
    }
    return fields;
}

const char* word(const std::optional<bool>& verdict, const char* yes, const char* no) {
    if (!verdict) return "-";
    return *verdict ? yes : no;
}
const char* authentic_word(const std::optional<bool>& v) { return word(v, "true", "false"); }
const char* policy_word(const std::optional<bool>& v) { return word(v, "accept", "reject"); }

std::optional<bool> policy_of(const Json& expect) {
    if (!expect.contains("strict_policy")) return std::nullopt;
    const auto text = expect["strict_policy"].get<std::string>();
    if (text != "accept" && text != "reject") throw BadCase{"strict_policy is neither accept nor reject"};
    return text == "accept";
}

/// Of evidence that is not authentic, a case may give the fields as they were before its changes to the
/// files.
Json fields_before_changes(const Kind& kind, const std::filesystem::path& folder, Json json) {
    for (const char* const change : {"patch", "truncate", "append", "replace"}) json.erase(change);
    return kind.judge(Case{folder, std::move(json), std::string{kind.subject}}).fields;
}

/// Judges one case; the outcome keeps only the verdicts that the case asks for.
std::string wrong_with(const Kind& kind, const std::filesystem::path& folder, const Json& json,
                       Outcome& outcome) {
    const Json expect = json.value("expect", Json::object());
    if (!expect.contains("authentic")) outcome.authentic.reset();
    else if (outcome.authentic != expect["authentic"].get<bool>()) return "authentic";
    const auto policy = policy_of(expect);
    if (!policy) outcome.policy_accepts.reset();
    else if (outcome.policy_accepts != policy) return "policy";
    std::string found = difference(expected_fields(expect), outcome.fields, "");
    if (found.empty() || outcome.authentic.value_or(true)) return found;
    const bool as_before =
        difference(expected_fields(expect), fields_before_changes(kind, folder, json), "").empty();
    return as_before ? std::string{} : found;
}

bool run(const std::filesystem::path& folder, const Json& json, bool reasons) {
    const auto id = json.value("id", "?");
    const auto kind_name = json.value("kind", "");
    const Json expect = json.value("expect", Json::object());
    Outcome outcome;
    std::string wrong;
    std::string expected = "-/-";
    try {
        const auto authentic = expect.contains("authentic")
                                   ? std::optional<bool>{expect["authentic"].get<bool>()}
                                   : std::nullopt;
        expected = std::string{authentic_word(authentic)} + "/" + policy_word(policy_of(expect));
        const Kind* const kind = find_kind(kind_name);
        if (kind == nullptr) throw BadCase{"the kind '" + kind_name + "' is not known"};
        outcome = kind->judge(Case{folder, json, std::string{kind->subject}});
        wrong = wrong_with(*kind, folder, json, outcome);
    } catch (const std::exception& error) {
        wrong = error.what();
    }
    std::printf("%s authentic=%s policy=%s expected=%s %s\n", id.c_str(), authentic_word(outcome.authentic),
                policy_word(outcome.policy_accepts), expected.c_str(), wrong.empty() ? "ok" : "WRONG");
    if (!wrong.empty()) std::fprintf(stderr, "  %s: %s\n", id.c_str(), wrong.c_str());
    if (reasons || !wrong.empty()) {
        for (const Finding& finding : outcome.findings.list()) {
            std::fprintf(stderr, "  %s: %s %s\n", id.c_str(), std::string{row_of(finding.code).name}.c_str(),
                         finding.detail.c_str());
        }
    }
    return wrong.empty();
}

int run_all(const std::filesystem::path& folder, bool reasons) {
    std::ifstream file{folder / "cases.json"};
    if (!file) {
        std::fprintf(stderr, "attest-vectors: cannot read %s\n", (folder / "cases.json").c_str());
        return 2;
    }
    const Json cases = Json::parse(file);
    bool all_right = !cases.empty();  // a folder without cases proves nothing
    for (const Json& one : cases) all_right = run(folder, one, reasons) && all_right;
    return all_right ? 0 : 1;
}

}  // namespace
}  // namespace holdfast::attest::vectors

int main(int argc, char** argv) {
    const bool reasons = argc == 3 && std::string_view{argv[2]} == "--reasons";
    if (argc != 2 && !reasons) {
        std::fprintf(stderr, "usage: attest-vectors DIR [--reasons]\n");
        return 2;
    }
    try {
        return holdfast::attest::vectors::run_all(argv[1], reasons);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "attest-vectors: %s\n", error.what());
        return 2;
    }
}
