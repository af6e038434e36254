// SPDX-License-Identifier: Apache-2.0
// Policies as TOML. It is here because toml++ without exceptions crashes as GCC 12 compiles it. A table's
// keys are rows: a name and what takes its value.
#include <algorithm>
#include <array>
#include <charconv>
#include <functional>

#include <toml++/toml.h>

#include "attest/text/encoding.hpp"
#include "cli/policy_toml.hpp"

namespace holdfast::cli {
namespace {

using namespace attest;

using Status = std::expected<void, PolicyError>;

PolicyError error_at(const toml::node& node, std::string what) {
    return {.line = node.source().begin.line, .what = std::move(what)};
}
std::unexpected<PolicyError> wrong(const toml::node& node, const char* demanded) {
    return std::unexpected{error_at(node, std::string{"the value must be "} + demanded)};
}

struct Key {
    std::string_view name;
    std::function<Status(const toml::node&)> take;
};

Status take_table(const toml::node& node, std::span<const Key> keys) {
    const toml::table* const table = node.as_table();
    if (table == nullptr) return wrong(node, "a table");
    for (const auto& [name, value] : *table) {
        const auto row = std::ranges::find(keys, name.str(), &Key::name);
        if (row == keys.end()) {
            return std::unexpected{error_at(value, "the key '" + std::string{name.str()} + "' is not known")};
        }
        if (auto taken = row->take(value); !taken) return taken;
    }
    return {};
}

/// "sha256:…" of the contract's allow-lists, or plain hexadecimal.
std::optional<std::vector<std::byte>> bytes_of(std::string_view text) {
    if (text.starts_with("sha256:")) text.remove_prefix(7);
    auto bytes = bytes_of_hex(text);
    if (!bytes) return std::nullopt;
    return std::move(*bytes);
}

auto text(std::string& to) {
    return [&to](const toml::node& node) -> Status {
        const auto value = node.value_exact<std::string>();
        if (!value || value->empty()) return wrong(node, "a text in quotes");
        to = *value;
        return {};
    };
}

auto flag(bool& to) {
    return [&to](const toml::node& node) -> Status {
        const auto value = node.value_exact<bool>();
        if (!value) return wrong(node, "true or false");
        to = *value;
        return {};
    };
}

/// A word that turns a demand on: "required".
auto required(bool& to) {
    return [&to](const toml::node& node) -> Status {
        const auto value = node.value_exact<std::string>();
        if (value != "required" && value != "optional") return wrong(node, "\"required\" or \"optional\"");
        to = value == "required";
        return {};
    };
}

template <typename T>
auto number(T& to) {
    return [&to](const toml::node& node) -> Status {
        const auto value = node.value_exact<std::int64_t>();
        if (!value || *value < 0) return wrong(node, "a number that is not negative");
        if constexpr (std::is_same_v<T, std::optional<std::uint64_t>> || sizeof(T) == 8) {
            to = static_cast<std::uint64_t>(*value);
        } else {
            if (*value > std::numeric_limits<T>::max()) return wrong(node, "a smaller number");
            to = static_cast<T>(*value);
        }
        return {};
    };
}

/// A list of texts, each given to `take`, which says whether it could use it.
auto each(const char* demanded, std::function<bool(const std::string&)> take) {
    return [demanded, take = std::move(take)](const toml::node& node) -> Status {
        const toml::array* const array = node.as_array();
        // An empty list would be one that allows all.
        if (array == nullptr || array->empty()) return wrong(node, demanded);
        for (const toml::node& item : *array) {
            const auto value = item.value_exact<std::string>();
            if (!value || !take(*value)) return wrong(item, demanded);
        }
        return {};
    };
}

auto texts(std::vector<std::string>& to) {
    return each("a list of texts", [&to](const std::string& value) {
        to.push_back(value);
        return !value.empty();
    });
}

auto byte_strings(std::vector<std::vector<std::byte>>& to) {
    return each("a list of hexadecimal texts", [&to](const std::string& value) {
        auto bytes = bytes_of(value);
        if (!bytes || bytes->empty()) return false;
        to.push_back(std::move(*bytes));
        return true;
    });
}

/// The one list that may be empty, and then allows any: policies are written with it from the start, to be
/// filled in.
auto chip_ids(std::vector<std::vector<std::byte>>& to) {
    return [&to](const toml::node& node) -> Status {
        const toml::array* const array = node.as_array();
        if (array != nullptr && array->empty()) return {};
        return byte_strings(to)(node);
    };
}

auto byte_string(std::optional<std::vector<std::byte>>& to) {
    return [&to](const toml::node& node) -> Status {
        const auto value = node.value_exact<std::string>();
        auto bytes = value ? bytes_of(*value) : std::nullopt;
        if (!bytes || bytes->empty()) return wrong(node, "hexadecimal digits in quotes");
        to = std::move(*bytes);
        return {};
    };
}

auto hashes(std::vector<HashAlg>& to) {
    return [&to](const toml::node& node) -> Status {
        to.clear();
        return each("a list of \"sha1\", \"sha256\", \"sha384\" and \"sha512\"",
                    [&to](const std::string& value) {
                        const auto alg = hash_of_name(value);
                        if (alg) to.push_back(*alg);
                        return alg.has_value();
                    })(node);
    };
}

/// sha256 = { "0" = "…" }
auto pcrs(tpm::ReferencePcrs& to) {
    return [&to](const toml::node& node) -> Status {
        const toml::table* const banks = node.as_table();
        if (banks == nullptr) return wrong(node, "a table of banks");
        for (const auto& [bank, values] : *banks) {
            const auto alg = hash_of_name(bank.str());
            const toml::table* const table = values.as_table();
            if (!alg || table == nullptr) return wrong(values, "a bank: sha256 = { \"0\" = \"…\" }");
            for (const auto& [name, value] : *table) {
                const std::string_view index_text = name.str();
                std::uint32_t index = 0;
                const auto [end, error] =
                    std::from_chars(index_text.data(), index_text.data() + index_text.size(), index);
                const auto bytes = value.value_exact<std::string>();
                const auto raw = bytes ? bytes_of(*bytes) : std::nullopt;
                const auto digest = raw ? digest_from(*alg, *raw) : std::nullopt;
                if (error != std::errc{} || end != index_text.data() + index_text.size() || index >= 24 ||
                    !digest) {
                    return wrong(value,
                                 "the value of a PCR, 0 to 23, in hexadecimal digits of the bank's size");
                }
                to[*alg][index] = *digest;
            }
        }
        return {};
    };
}

auto tcb(std::optional<snp::Tcb>& to) {
    return [&to](const toml::node& node) -> Status {
        snp::Tcb least;
        std::uint8_t fmc = 0;
        const std::array keys{Key{"fmc", number(fmc)}, Key{"bootloader", number(least.bootloader)},
                              Key{"tee", number(least.tee)}, Key{"snp", number(least.snp)},
                              Key{"microcode", number(least.microcode)}};
        if (auto taken = take_table(node, keys); !taken) return taken;
        if (node.as_table()->contains("fmc")) least.fmc = fmc;
        to = least;
        return {};
    };
}

/// A key that only whole evidence is judged by: of a piece by itself, a note says that it was not judged.
template <typename Take>
Key whole(std::string_view table, std::string_view name, Policy& policy, Take take) {
    return {name, [table, name, &policy, take = std::move(take)](const toml::node& node) -> Status {
                policy.for_whole_evidence.push_back(std::string{table} + "." + std::string{name});
                return take(node);
            }};
}

/// One text, or a list of them.
auto tiers(std::vector<std::string>& to) {
    return [&to](const toml::node& node) -> Status {
        std::string one;
        if (text(one)(node)) {
            to = {one};
            return {};
        }
        return texts(to)(node);
    };
}

Status take_host(const toml::node& node, Policy& policy) {
    const std::array keys{Key{"roots", texts(policy.tpm_roots)},
                          Key{"ak", byte_strings(policy.ak_names)},
                          Key{"hashes", hashes(policy.quote.hashes)},
                          Key{"min_rsa_bits", number(policy.quote.min_rsa_bits)},
                          Key{"measured_boot", flag(policy.quote.measured_boot)},
                          Key{"pcrs", pcrs(policy.quote.pcrs)},
                          Key{"drtm", pcrs(policy.quote.drtm)},
                          Key{"dynamic_launch", required(policy.quote.drtm_required)},
                          Key{"event_log", required(policy.quote.log_required)},
                          Key{"ima", required(policy.quote.ima_required)},
                          Key{"software_tpm", flag(policy.whole.anchor.allow_software_tpm)},
                          whole("host", "enrolled", policy, text(policy.enrolled)),
                          whole("host", "ek", policy, byte_strings(policy.eks))};
    return take_table(node, keys);
}

Status take_launch(const toml::node& node, Policy& policy) {
    LaunchPolicy& launch = policy.whole.launch;
    const std::array keys{
        Key{"digest", byte_strings(policy.snp.measurements)},
        whole("launch", "tier", policy, tiers(launch.tiers)),
        whole("launch", "max_clear_window", policy, number(launch.max_window)),
        whole("launch", "bundle_key", policy, texts(policy.bundle_keys)),
        whole("launch", "min_security_version", policy, number(launch.min_security_version)),
        whole("launch", "pcrs", policy, pcrs(launch.pcrs))};
    return take_table(node, keys);
}

Status take_snp(const toml::node& node, Policy& policy) {
    const std::array keys{Key{"roots", texts(policy.snp_roots)},
                          Key{"min_tcb", tcb(policy.snp.min_tcb)},
                          Key{"min_launch_tcb", tcb(policy.snp.min_launch_tcb)},
                          Key{"debug", flag(policy.snp.allow_debug)},
                          Key{"migration_agent", flag(policy.snp.allow_migration_agent)},
                          Key{"max_vmpl", number(policy.snp.max_vmpl)},
                          Key{"min_guest_svn", number(policy.snp.min_guest_svn)},
                          Key{"platform_demanded", number(policy.snp.platform_demanded)},
                          Key{"platform_forbidden", number(policy.snp.platform_forbidden)},
                          Key{"mitigations_demanded", number(policy.snp.mitigations_demanded)},
                          Key{"host_data", byte_string(policy.snp.host_data)},
                          Key{"id_keys", byte_strings(policy.snp.id_keys)},
                          Key{"author_keys", byte_strings(policy.snp.author_keys)},
                          Key{"chips", chip_ids(policy.snp.chips)}};
    return take_table(node, keys);
}

Status take_tdx(const toml::node& node, Policy& policy) {
    tdx::Policy& tdx = policy.tdx;
    const auto statuses = [&tdx](const toml::node& value) -> Status {
        tdx.tcb_allowed.clear();
        return each("a list of Intel's words for the status of a TCB", [&tdx](const std::string& name) {
            const auto status = tdx::status_of_name(name);
            if (status) tdx.tcb_allowed.push_back(*status);
            return status.has_value();
        })(value);
    };
    const std::array keys{Key{"roots", texts(policy.tdx_roots)},
                          Key{"debug", flag(tdx.allow_debug)},
                          Key{"sept_ve", flag(tdx.allow_sept_ve)},
                          Key{"migratable", flag(tdx.allow_migratable)},
                          Key{"mrtd", byte_strings(tdx.mrtds)},
                          Key{"rtmr0", byte_string(tdx.rtmrs[0])},
                          Key{"rtmr1", byte_string(tdx.rtmrs[1])},
                          Key{"rtmr2", byte_string(tdx.rtmrs[2])},
                          Key{"rtmr3", byte_string(tdx.rtmrs[3])},
                          Key{"mr_config_id", byte_string(tdx.mr_config_id)},
                          Key{"mr_owner", byte_string(tdx.mr_owner)},
                          Key{"mr_owner_config", byte_string(tdx.mr_owner_config)},
                          Key{"service_tds", byte_strings(tdx.service_tds)},
                          Key{"platforms", byte_strings(tdx.platforms)},
                          Key{"tcb", statuses},
                          Key{"collateral", required(tdx.collateral_demanded)},
                          Key{"min_evaluation_number", number(tdx.min_evaluation_number)}};
    return take_table(node, keys);
}

Status take_policy(const toml::table& root, Policy& policy) {
    const std::array freshness{Key{"last_seen", text(policy.last_seen)},
                               whole("freshness", "max_age", policy, number(policy.whole.max_age))};
    const std::array anchor{Key{"counter", number(policy.counter.at_least)},
                            Key{"orderly", flag(policy.counter.orderly)}};
    VtpmPolicy& guest = policy.whole.vtpm;
    const std::array vtpm{
        whole("vtpm", "pcrs", policy, pcrs(guest.quote.pcrs)),
        whole("vtpm", "quote", policy, required(guest.required)),
        whole("vtpm", "event_log", policy, required(guest.quote.log_required)),
        whole("vtpm", "ima", policy, required(guest.quote.ima_required)),
        whole("vtpm", "measured_boot", policy, flag(guest.quote.measured_boot)),
        whole("vtpm", "asked_by_guest", policy, flag(guest.by_guest)),
        whole("vtpm", "ek", policy, byte_strings(guest.eks)),
        whole("vtpm", "roots", policy, texts(policy.vtpm_roots)),
        whole("vtpm", "anchored", policy, flag(policy.whole.anchor.required)),
        whole("vtpm", "allow_gap", policy, flag(policy.whole.anchor.allow_gap)),
        whole("vtpm", "allow_reanchored", policy, flag(policy.whole.anchor.allow_reanchored))};
    const std::array tables{
        Key{"freshness", [&](const toml::node& node) { return take_table(node, freshness); }},
        Key{"host", [&](const toml::node& node) { return take_host(node, policy); }},
        Key{"anchor", [&](const toml::node& node) { return take_table(node, anchor); }},
        Key{"launch", [&](const toml::node& node) { return take_launch(node, policy); }},
        Key{"vtpm", [&](const toml::node& node) { return take_table(node, vtpm); }},
        Key{"snp", [&](const toml::node& node) { return take_snp(node, policy); }},
        Key{"tdx", [&](const toml::node& node) { return take_tdx(node, policy); }},
    };
    auto taken = take_table(root, tables);
    // A demand on the quote is a demand for it.
    guest.required = guest.required || !guest.quote.pcrs.empty() || guest.quote.log_required ||
                     guest.quote.ima_required || guest.by_guest || !guest.eks.empty() ||
                     !policy.vtpm_roots.empty();
    guest.quote.hashes = policy.quote.hashes;
    return taken;
}

}  // namespace

std::expected<Policy, PolicyError> parse_policy(std::string_view toml) {
    Policy policy;
    try {
        if (auto taken = take_policy(toml::parse(toml), policy); !taken)
            return std::unexpected{taken.error()};
    } catch (const toml::parse_error& error) {
        return std::unexpected{
            PolicyError{.line = error.source().begin.line, .what = std::string{error.description()}}};
    }
    return policy;
}

}  // namespace holdfast::cli
