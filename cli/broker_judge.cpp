// SPDX-License-Identifier: Apache-2.0
#include "cli/broker_judge.hpp"

#include <algorithm>
#include <array>
#include <ctime>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "attest/text/encoding.hpp"
#include "cli/error.hpp"
#include "cli/output.hpp"
#include "cli/verify.hpp"

namespace holdfast::cli {
namespace {

std::string time_text() {
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    std::array<char, 32> text{};
    const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
    return {text.data(), size};
}

/// Codes of all that refuses, once each.
std::vector<std::string> codes_of(const attest::Findings& findings) {
    std::vector<std::string> codes;
    for (const attest::Finding& finding : findings.list()) {
        const auto& row = attest::row_of(finding.code);
        const std::string name{row.name};
        if (row.stage == attest::Stage::Note || std::ranges::find(codes, name) != codes.end()) continue;
        codes.push_back(name);
    }
    return codes;
}

}  // namespace

BrokerJudge::BrokerJudge(BrokerConfig config, const std::string& log, const BrokerKeeper& keeper)
    : config_{std::move(config)}, keeper_{keeper} {
    log_ = UniqueFd{::open(log.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)};
    if (log_) return;
    throw Failure{Code::Broker, fmt::format("the log '{}' cannot be written", printable(log)),
                  reason_of(os_error("open")), "choose a file in a directory that exists"};
}

BrokerJudge::Decision BrokerJudge::decide(const std::string& peer, const attest::broker::Request& request,
                                          const Digest256& binding) {
    const Lock lock{mutex_};
    Facts facts;
    Decision decision;
    try {
        decision = judge(request, binding, facts);
    } catch (const Failure& failure) {
        // What it remembers cannot be read or written. Said to whoever runs the broker.
        print_error("holdfast: broker: {}\n", failure.what());
        decision = {.secret = nullptr, .refused = {"broker.failed"}};
    }
    if (!write_down(peer, request.name, decision, facts))
        return {.secret = nullptr, .refused = {"broker.failed"}};
    return decision;
}

BrokerJudge::Decision BrokerJudge::refuse(const std::string& peer, std::string_view name, const char* code) {
    const Lock lock{mutex_};
    Decision decision{.secret = nullptr, .refused = {code}};
    // There is nothing to hold back.
    (void)write_down(peer, name, decision, {});
    return decision;
}

BrokerJudge::Decision BrokerJudge::judge(const attest::broker::Request& request, const Digest256& binding,
                                         Facts& facts) {
    const auto found = config_.secrets.find(request.name);
    if (found == config_.secrets.end()) return {.secret = nullptr, .refused = {"broker.no-such-secret"}};
    const VerifyOptions options;
    const Piece piece{.options = options,
                      .policy = found->second.policy,
                      .evidence = {request.evidence.begin(), request.evidence.end()},
                      .nonce = Blob{binding.begin(), binding.end()},
                      .at = std::time(nullptr),
                      .memories = keeper_.memories_in(found->second.policy.last_seen),
                      .keys = &keys_};
    const Verdict verdict = verify_evidence(piece, found->second.files);
    const auto field = [&](const char* part, const char* name) {
        const auto at = verdict.facts.find(part);
        return at != verdict.facts.end() && at->contains(name) ? at->at(name) : Facts{};
    };
    facts = Facts{{"vm", field("launch", "name")},
                  {"vtpm", field("launch", "vtpm")},
                  {"launch_digest", field("launch", "launch_digest")},
                  {"ek", field("vtpm", "ek")},
                  {"host_ak", field("host", "ak")}};
    if (!verdict.findings.is_accepted()) {
        auto codes = codes_of(verdict.findings);
        if (codes.empty()) codes.emplace_back("broker.failed");  // only if findings were left out
        return {.secret = nullptr, .refused = std::move(codes)};
    }
    remember_if_accepted(piece.memories, verdict);
    return {.secret = &found->second.bytes, .refused = {}};
}

bool BrokerJudge::write_down(const std::string& peer, std::string_view name, const Decision& decision,
                             const Facts& facts) {
    Facts line{{"time", time_text()},
               {"peer", peer},
               {"secret", printable(name)},
               {"decision", decision.secret != nullptr ? "released" : "refused"},
               {"codes", decision.refused}};
    if (!facts.empty()) line["evidence"] = facts;
    const std::string text = line.dump(-1, ' ', false, Facts::error_handler_t::replace) + '\n';
    const auto written = write_all(log_, std::as_bytes(std::span{text}));
    if (written && ::fdatasync(log_.get()) == 0) return true;
    print_error("holdfast: broker: the log cannot be written: {}\n",
                reason_of(written ? os_error("fdatasync") : written.error()));
    return false;
}

}  // namespace holdfast::cli
