// SPDX-License-Identifier: Apache-2.0
#include "cli/broker_config.hpp"

#include <algorithm>
#include <filesystem>

#include <fcntl.h>
#include <fmt/format.h>
#include <toml++/toml.h>

#include "attest/broker/message.hpp"
#include "cli/error.hpp"
#include "cli/output.hpp"
#include "cli/verify.hpp"
#include "sys/fd.hpp"

namespace holdfast::cli {
namespace {

constexpr std::int64_t kMaxChallengeAge = 600;

[[noreturn]] void unusable(const std::string& path, std::string why) {
    throw Failure{Code::Broker, fmt::format("'{}' cannot be used", printable(path)), std::move(why),
                  "docs/broker.md describes what belongs there"};
}

SecretBytes read_secret(const std::string& path) {
    UniqueFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (!file) unusable(path, reason_of(os_error("open")));
    const auto size = file_size(file);
    if (!size) unusable(path, reason_of(size.error()));
    if (*size == 0 || *size > attest::broker::kMaxSecret) unusable(path, "a secret has 1 byte to 64 KiB");
    SecretBytes secret = expect(SecretBytes::create(static_cast<std::size_t>(*size)));
    if (const auto read = pread_exact(file, secret.bytes(), 0); !read)
        unusable(path, reason_of(read.error()));
    return secret;
}

/// The keys of a table, each of which must be known and a text.
class Table {
public:
    Table(const std::string& path, const toml::table& table) : path_{path}, table_{table} {}
    void allow(std::initializer_list<std::string_view> known) const {
        for (const auto& [key, value] : table_) {
            if (std::ranges::find(known, key.str()) == known.end())
                unusable(path_, fmt::format("the key '{}' is not known", printable(key.str())));
        }
    }
    [[nodiscard]] std::string text(std::string_view key) const {
        const auto value = table_[key].value_exact<std::string>();
        if (!value || value->empty()) unusable(path_, fmt::format("'{}' must be a text", key));
        return *value;
    }
    [[nodiscard]] std::string file(std::string_view key) const {
        return (std::filesystem::path{path_}.parent_path() / text(key)).string();
    }

private:
    const std::string& path_;
    const toml::table& table_;
};

void add_secret(const std::string& path, const toml::node& node, BrokerConfig& config) {
    const toml::table* const row = node.as_table();
    if (row == nullptr) unusable(path, "a [[secret]] must be a table");
    const Table table{path, *row};
    table.allow({"name", "file", "policy"});
    const std::string name = table.text("name");
    if (name.size() > attest::broker::kMaxName) unusable(path, "a secret's name has at most 64 bytes");
    BrokerSecret secret{
        .bytes = read_secret(table.file("file")), .policy = read_policy(table.file("policy")), .files = {}};
    // Whoever has the host's sockets could ask for a quote too; a secret goes to the guest that asked itself.
    secret.policy.whole.vtpm.required = true;
    secret.policy.whole.vtpm.by_guest = true;
    secret.policy.quote.nonce_required = true;
    secret.files = read_policy_files(secret.policy);
    if (!config.secrets.emplace(name, std::move(secret)).second)
        unusable(path, fmt::format("there are two secrets '{}'", printable(name)));
}

}  // namespace

BrokerConfig read_broker_config(const std::string& path) {
    toml::table root;
    try {
        root = toml::parse_file(path);
    } catch (const toml::parse_error& error) {
        unusable(path, fmt::format("line {}: {}", error.source().begin.line, error.description()));
    }
    const Table table{path, root};
    table.allow({"certificate", "key", "challenge_age", "secret"});
    BrokerConfig config{.certificate = table.file("certificate"),
                        .key = table.file("key"),
                        .challenge_age = std::chrono::seconds{60},
                        .secrets = {}};
    if (root.contains("challenge_age")) {
        const auto age = root["challenge_age"].value_exact<std::int64_t>();
        if (!age || *age < 0 || *age > kMaxChallengeAge) unusable(path, "challenge_age is 0 to 600 seconds");
        config.challenge_age = std::chrono::seconds{*age};
    }
    const toml::array* const secrets = root["secret"].as_array();
    if (secrets == nullptr || secrets->empty()) unusable(path, "there is no [[secret]]");
    for (const toml::node& node : *secrets) add_secret(path, node, config);
    return config;
}

}  // namespace holdfast::cli
