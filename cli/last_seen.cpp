// SPDX-License-Identifier: Apache-2.0
// What a verifier remembers between two runs: per signing key, the TPM's clock and the counter that it
// accepted last. JSON; written anew beside the old one and then put in its place.
#include <cstdio>
#include <fstream>

#include <fmt/format.h>

#include "cli/error.hpp"
#include "cli/files.hpp"
#include "cli/output.hpp"
#include "cli/verify.hpp"

namespace holdfast::cli {
namespace {

[[noreturn]] void unusable(const std::string& path, std::string why) {
    throw Failure{
        Code::Evidence, fmt::format("the memory '{}' cannot be used", printable(path)), std::move(why),
        "without it, older evidence cannot be told from newer: restore it, or remove it on purpose"};
}

constexpr std::uint64_t kMost = 16U << 20;

nlohmann::json read_all(const std::string& path) {
    if (is_missing(path)) return nlohmann::json::object();
    const auto text = read_text(path, kMost);
    if (!text) unusable(path, text.error());
    auto json = nlohmann::json::parse(*text, nullptr, false);
    if (!json.is_object()) unusable(path, "it is not a JSON object");
    return json;
}

std::uint64_t number_at(const std::string& path, const nlohmann::json& entry, const char* name) {
    if (!entry.is_object() || !entry.contains(name) || !entry[name].is_number_unsigned()) {
        unusable(path, fmt::format("an entry has no number '{}'", name));
    }
    return entry[name].get<std::uint64_t>();
}

std::optional<Memory> recall(const std::string& path, const std::string& signer) {
    const auto all = read_all(path);
    if (!all.contains(signer)) return std::nullopt;
    const auto& entry = all[signer];
    return Memory{
        .clock = {.clock = number_at(path, entry, "clock"),
                  .reset_count = static_cast<std::uint32_t>(number_at(path, entry, "reset_count")),
                  .restart_count = static_cast<std::uint32_t>(number_at(path, entry, "restart_count"))},
        .counter = number_at(path, entry, "counter")};
}

void remember(const std::string& path, const std::string& signer, const Memory& memory) {
    auto all = read_all(path);
    all[signer] = {{"clock", memory.clock.clock},
                   {"reset_count", memory.clock.reset_count},
                   {"restart_count", memory.clock.restart_count},
                   {"counter", memory.counter}};
    const std::string fresh = path + ".new";
    std::ofstream file{fresh, std::ios::trunc};
    file << all.dump(2) << '\n';
    file.close();
    if (!file || std::rename(fresh.c_str(), path.c_str()) != 0) unusable(path, "it cannot be written");
}

}  // namespace

Memories memories_in(const std::string& path) {
    if (path.empty()) return {};
    return {.recall = [path](const std::string& signer) { return recall(path, signer); },
            .remember = [path](const std::string& signer,
                               const Memory& memory) { remember(path, signer, memory); }};
}

}  // namespace holdfast::cli
