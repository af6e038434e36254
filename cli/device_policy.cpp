// SPDX-License-Identifier: Apache-2.0
// The device policy: TOML 1.0, one [[device]] a rule (docs/iommu.md).
#include <charconv>

#include <fmt/format.h>
#include <toml++/toml.h>

#include "cli/device.hpp"
#include "cli/error.hpp"
#include "cli/files.hpp"
#include "cli/output.hpp"
#include "cli/shape.hpp"

namespace holdfast::cli {
namespace {

constexpr std::uint64_t kMaxPolicy = 1 << 20;
constexpr std::uint64_t kMostMappings = 65'000;  ///< the kernel's own limit is 65535 a container

[[noreturn]] void bad_policy(const std::string& path, const toml::source_region& where, std::string why,
                             std::string fix) {
    throw Failure{Code::DevicePolicy,
                  fmt::format("{}, line {}: this cannot be used", printable(path), where.begin.line),
                  std::move(why), std::move(fix)};
}

std::string read_policy_text(const std::string& path, bool may_be_missing) {
    if (may_be_missing && is_missing(path)) return "";
    auto text = read_text(path, kMaxPolicy);
    if (text) return std::move(*text);
    throw Failure{Code::DevicePolicy, fmt::format("cannot read the device policy '{}'", printable(path)),
                  std::move(text.error()), "check the path and its permissions"};
}

/// "8086:10c9", as lspci -n writes them.
std::optional<iommu::PciIds> ids_of(const std::string& text) {
    iommu::PciIds ids;
    const char* const end = text.data() + text.size();
    if (text.size() != 9 || text[4] != ':') return std::nullopt;
    const auto vendor = std::from_chars(text.data(), text.data() + 4, ids.vendor, 16);
    const auto device = std::from_chars(text.data() + 5, end, ids.device, 16);
    if (vendor.ptr != text.data() + 4 || device.ptr != end) return std::nullopt;
    return ids;
}

/// One [[device]]: every key that is there is known and of its type.
class RuleReader {
public:
    RuleReader(const std::string& path, const toml::table& table) : path_{path}, table_{table} {}

    iommu::Rule read() {
        for (const auto& [key, node] : table_) read_key(std::string{key.str()}, node);
        if (rule_.address.empty() && !rule_.ids) {
            bad_policy(path_, table_.source(), "a [[device]] names no device",
                       "give an address, or ids, or both");
        }
        return rule_;
    }

private:
    void read_key(const std::string& key, const toml::node& node) {
        if (key == "address") {
            rule_.address = value<std::string>(key, node, "a text like \"0000:01:00.0\"");
            if (!iommu::is_pci_address(rule_.address)) wrong(key, node, "a text like \"0000:01:00.0\"");
        } else if (key == "ids") {
            rule_.ids = ids_of(value<std::string>(key, node, "a text like \"8086:10c9\""));
            if (!rule_.ids) wrong(key, node, "a text like \"8086:10c9\"");
        } else if (key == "max_bytes") {
            const auto bytes = parse_size(value<std::string>(key, node, "a size like \"256M\""));
            if (!bytes) wrong(key, node, "a size like \"256M\"");
            rule_.max_bytes = *bytes;
        } else if (key == "max_mappings") {
            const auto count = value<std::int64_t>(key, node, "a number from 1 to 65000");
            if (count < 1 || count > static_cast<std::int64_t>(kMostMappings)) {
                wrong(key, node, "a number from 1 to 65000");
            }
            rule_.max_mappings = static_cast<std::uint64_t>(count);
        } else if (key == "ats") {
            rule_.ats = value<bool>(key, node, "true or false");
        } else if (key == "pri") {
            rule_.pri = value<bool>(key, node, "true or false");
        } else if (key == "intx") {
            rule_.intx = value<bool>(key, node, "true or false");
        } else if (key == "p2p") {
            if (value<bool>(key, node, "false")) {
                bad_policy(path_, node.source(), "no device reaches another one here: p2p cannot be true",
                           "say p2p = false, or leave it out");
            }
        } else if (key == "isolation") {
            if (value<std::string>(key, node, "\"group\"") != "group") {
                bad_policy(
                    path_, node.source(),
                    "a device is alone in its IOMMU group, or it is not handed over: no other isolation",
                    "say isolation = \"group\", or leave it out");
            }
        } else {
            bad_policy(
                path_, node.source(), fmt::format("the key '{}' is not known", printable(key)),
                "the keys are address, ids, max_bytes, max_mappings, ats, pri, intx, p2p and isolation");
        }
    }
    template <typename T>
    T value(const std::string& key, const toml::node& node, const char* wanted) {
        const auto found = node.value_exact<T>();
        if (!found) wrong(key, node, wanted);
        return *found;
    }
    [[noreturn]] void wrong(const std::string& key, const toml::node& node, const char* wanted) {
        bad_policy(path_, node.source(), fmt::format("the value of '{}' cannot be used", key),
                   fmt::format("give {}", wanted));
    }
    const std::string& path_;
    const toml::table& table_;
    iommu::Rule rule_;
};

}  // namespace

iommu::Policy read_device_policy(const std::string& path) {
    const std::string where = path.empty() ? "/etc/holdfast/devices.toml" : path;
    toml::table table;
    try {
        table = toml::parse(read_policy_text(where, path.empty()), where);
    } catch (const toml::parse_error& error) {
        bad_policy(where, error.source(), std::string{error.description()}, "write it as TOML 1.0");
    }
    iommu::Policy policy;
    for (const auto& [key, node] : table) {
        const toml::array* const rules = node.as_array();
        if (key.str() != "device" || rules == nullptr) {
            bad_policy(where, key.source(), "a policy holds [[device]] tables and nothing else",
                       "take this out, or write [[device]]");
        }
        for (const toml::node& rule : *rules) {
            const toml::table* const keys = rule.as_table();
            if (keys == nullptr) bad_policy(where, rule.source(), "not a table", "write [[device]]");
            policy.rules.push_back(RuleReader{where, *keys}.read());
        }
    }
    return policy;
}

}  // namespace holdfast::cli
