// SPDX-License-Identifier: Apache-2.0
// holdfast doctor
#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/error.hpp"
#include "cli/finding.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"

namespace holdfast::cli {
namespace {

constexpr const char* health_word(Health health) {
    switch (health) {
        case Health::Ok: return "ok";
        case Health::Warn: return "warn";
        case Health::Missing: return "missing";
    }
    return "";
}

bool blocks(const Finding& finding) { return finding.required && finding.health == Health::Missing; }

bool is_ok(const Findings& findings, std::string_view id) {
    const auto it = std::ranges::find(findings, id, &Finding::id);
    return it != findings.end() && it->health == Health::Ok;
}

std::string verdict(const Findings& findings) {
    if (std::ranges::any_of(findings, blocks))
        return "This host cannot launch VMs yet: see what is missing above.";
    if (is_ok(findings, "linux-guests")) return "This host can launch Linux guests and the built-in guest.";
    return "This host can launch the built-in guest, but not Linux guests.";
}

void print_json(const Findings& findings) {
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    for (const Finding& finding : findings) {
        nlohmann::ordered_json fix;
        if (!finding.fix.empty()) fix = finding.fix;
        rows.push_back({{"id", finding.id},
                        {"group", finding.group},
                        {"title", finding.title},
                        {"state", health_word(finding.health)},
                        {"detail", finding.detail},
                        {"fix", std::move(fix)},
                        {"required", finding.required}});
    }
    const nlohmann::ordered_json all{
        {"findings", std::move(rows)},
        {"can_launch", std::ranges::none_of(findings, blocks)},
        {"can_launch_linux", std::ranges::none_of(findings, blocks) && is_ok(findings, "linux-guests")}};
    write_text(1, all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + '\n');
}

}  // namespace

void print_findings(const Findings& findings) {
    const Paint paint{1};
    std::size_t width = 0;
    for (const Finding& finding : findings) width = std::max(width, finding.title.size());
    std::string_view group;
    for (const Finding& finding : findings) {
        if (finding.group != group) {
            print("{}{}{}{}\n", group.empty() ? "" : "\n", paint.bold(), finding.group, paint.off());
            group = finding.group;
        }
        const char* const colour = finding.health == Health::Ok     ? paint.green()
                                   : finding.health == Health::Warn ? paint.yellow()
                                                                    : paint.red();
        print("  {}{:<7}{}  {:<{}}  {}\n", colour, health_word(finding.health), paint.off(), finding.title,
              width, finding.detail);
        if (!finding.fix.empty()) {
            print("  {:<7}  {:<{}}  {}fix: {}{}\n", "", "", width, paint.dim(), finding.fix, paint.off());
        }
    }
}

int run_doctor(const DoctorOptions& options) {
    Findings findings;
    look_at_kvm(findings);
    look_at_hardware(findings);
    look_at_surroundings(findings);
    if (options.json) {
        print_json(findings);
    } else {
        print_findings(findings);
        const Paint paint{1};
        print("\n{}{}{}\n", paint.bold(), verdict(findings), paint.off());
    }
    return std::ranges::any_of(findings, blocks) ? kExitFailure : 0;
}

}  // namespace holdfast::cli
