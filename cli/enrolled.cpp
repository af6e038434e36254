// SPDX-License-Identifier: Apache-2.0
#include "cli/enrolled.hpp"

#include <cstdio>
#include <fstream>

#include <fmt/format.h>

#include "attest/text/encoding.hpp"
#include "cli/error.hpp"
#include "cli/files.hpp"
#include "cli/output.hpp"
#include "sys/sha2.hpp"

namespace holdfast::cli {
namespace {

[[noreturn]] void unusable(const std::string& path, std::string why) {
    throw Failure{Code::Evidence, fmt::format("the list of hosts '{}' cannot be used", printable(path)),
                  std::move(why), "holdfast enroll accept --into makes one"};
}

constexpr std::uint64_t kMost = 64U << 20;

}  // namespace

EnrolledHosts read_enrolled(const std::string& path, bool missing_is_empty) {
    if (missing_is_empty && is_missing(path)) return {};
    const auto text = read_text(path, kMost);
    if (!text) unusable(path, text.error());
    EnrolledHosts hosts;
    try {
        const auto all = nlohmann::json::parse(*text);
        for (const auto& [name, json] : all.items()) {
            auto certificate = attest::bytes_of_hex(json.at("ek_certificate").get<std::string>());
            if (!certificate) unusable(path, certificate.error().what);
            hosts[name] = {
                .ek = json.at("ek"), .certificate = std::move(*certificate), .label = json.at("label")};
        }
    } catch (const nlohmann::json::exception& error) {
        unusable(path, error.what());
    }
    return hosts;
}

void write_enrolled(const std::string& path, const EnrolledHosts& hosts) {
    nlohmann::ordered_json json = nlohmann::ordered_json::object();
    for (const auto& [name, host] : hosts) {
        json[name] = {{"label", host.label}, {"ek", host.ek}, {"ek_certificate", hex(host.certificate)}};
    }
    const std::string fresh = path + ".new";
    std::ofstream file{fresh, std::ios::trunc};
    file << json.dump(2) << '\n';
    file.close();
    if (!file || std::rename(fresh.c_str(), path.c_str()) != 0) unusable(path, "it cannot be written");
}

}  // namespace holdfast::cli
