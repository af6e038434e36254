// SPDX-License-Identifier: Apache-2.0
// holdfast device list|explain|bind|unbind
#include <charconv>
#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/device.hpp"
#include "cli/device_audit.hpp"
#include "cli/error.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/qmp.hpp"
#include "cli/state.hpp"
#include "iommu/host/sysfs.hpp"

namespace holdfast::cli {
namespace {

using iommu::DeviceFacts;
using iommu::Verdict;

DeviceFacts facts_of(const iommu::host::Sysfs& host, const std::string& address) {
    if (address.empty()) {
        throw Failure{Code::Usage, "no device is named", "this action is about one device",
                      "give its address; holdfast device list shows them"};
    }
    auto facts = host.facts(address);
    if (!facts) {
        throw Failure{Code::NoSuchDevice, fmt::format("there is no device '{}'", printable(address)),
                      reason_of(facts.error()), "holdfast device list shows what there is"};
    }
    return std::move(*facts);
}

nlohmann::ordered_json to_json(const DeviceFacts& device, const Verdict& verdict) {
    auto members = nlohmann::ordered_json::array();
    for (const auto& member : device.members) {
        members.push_back(
            {{"address", member.address}, {"bridge", member.is_bridge}, {"driver", member.driver}});
    }
    auto reasons = nlohmann::ordered_json::array();
    for (const auto& finding : verdict.findings) {
        const auto words = iommu::words_of(finding.reason);
        reasons.push_back(
            {{"name", words.name}, {"why", words.why}, {"detail", finding.detail}, {"fix", words.fix}});
    }
    nlohmann::ordered_json json{{"address", device.address},
                                {"ids", fmt::format("{:04x}:{:04x}", device.ids.vendor, device.ids.device)},
                                {"class", fmt::format("{:06x}", device.class_code)},
                                {"driver", device.driver},
                                {"iommu_group", nullptr},
                                {"group_type", device.group_type},
                                {"group_members", std::move(members)},
                                {"reset_methods", device.reset_methods},
                                {"allowed", verdict.allowed()},
                                {"rule", nullptr},
                                {"reasons", std::move(reasons)}};
    if (device.group) json["iommu_group"] = *device.group;
    if (verdict.rule) json["rule"] = *verdict.rule;
    return json;
}

void print_json(const nlohmann::ordered_json& json) {
    write_text(1, json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

std::string reason_names(const Verdict& verdict) {
    std::string names;
    for (const auto& finding : verdict.findings) {
        names += names.empty() ? "" : ", ";
        names += iommu::words_of(finding.reason).name;
    }
    return names;
}

int list_devices(const iommu::host::Sysfs& host, const iommu::Policy& policy, bool json) {
    auto all = nlohmann::ordered_json::array();
    std::vector<std::vector<std::string>> rows{{"ADDRESS", "IDS", "DRIVER", "GROUP", "MAY BE HANDED OVER"}};
    for (const std::string& address : host.devices()) {
        const auto facts = host.facts(address);
        if (!facts) continue;  // unplugged since
        const Verdict verdict = iommu::judge(policy, *facts);
        if (json) all.push_back(to_json(*facts, verdict));
        rows.push_back({address, fmt::format("{:04x}:{:04x}", facts->ids.vendor, facts->ids.device),
                        facts->driver.empty() ? "-" : facts->driver,
                        facts->group ? fmt::to_string(*facts->group) : "-",
                        verdict.allowed() ? "yes" : "no: " + reason_names(verdict)});
    }
    if (json) print_json(all);
    else print_table(rows);
    return 0;
}

int explain_device(const DeviceFacts& device, const Verdict& verdict, bool json) {
    if (json) {
        print_json(to_json(device, verdict));
        return 0;
    }
    const Paint paint{1};
    print("{} {:04x}:{:04x}, driver {}, group {}\n", device.address, device.ids.vendor, device.ids.device,
          device.driver.empty() ? "none" : device.driver,
          device.group ? fmt::to_string(*device.group) : "none");
    if (verdict.allowed()) {
        print("{}may be handed over{} by rule {} of the policy\n", paint.green(), paint.off(),
              *verdict.rule + 1);
        return 0;
    }
    print("{}may not be handed over{}\n", paint.red(), paint.off());
    for (const auto& finding : verdict.findings) {
        const auto words = iommu::words_of(finding.reason);
        print("  {}{}{}: {}{}{}\n    fix: {}\n", paint.bold(), words.name, paint.off(), words.why,
              finding.detail.empty() ? "" : ": ", printable(finding.detail), words.fix);
    }
    return 0;
}

std::uint64_t iova_of(const std::string& text) {
    const bool hex = text.starts_with("0x");
    const char* const end = text.data() + text.size();
    std::uint64_t iova = 0;
    const auto read = std::from_chars(text.data() + (hex ? 2 : 0), end, iova, hex ? 16 : 10);
    // Addresses of devices end far below; QMP has signed numbers.
    if (read.ec == std::errc{} && read.ptr == end && iova >> 63 == 0) return iova;
    throw Failure{Code::Usage, fmt::format("'{}' is not an address", printable(text)),
                  "a device's address is a number below 2^63", "give for example 0xfffff000"};
}

std::string time_words(std::uint64_t at_ms) {
    return fmt::format("{:%Y-%m-%d %H:%M:%S}.{:03}Z", fmt::gmtime(static_cast<std::time_t>(at_ms / 1000)),
                       at_ms % 1000);
}

/// One line of what query-device-grants said. Throws what nlohmann throws: the VMM's answer is not trusted.
void print_grant(const nlohmann::json& grant, std::uint64_t iova) {
    const std::string device = printable(grant.at("device").get<std::string>());
    if (!grant.at("mapped").get<bool>()) {
        print("{}: nothing at {:#x}: whatever it does there is refused\n", device, iova);
        return;
    }
    const auto start = grant.at("start").get<std::uint64_t>();
    const auto target = grant.at("target").get<std::uint64_t>();
    print("{}: {:#x} is guest memory {:#x}\n"
          "  granted by the guest at {}: {:#x} bytes from {:#x} on, {}\n"
          "  allowed by rule {} of the policy\n",
          device, iova, target + (iova - start), time_words(grant.at("granted-at-ms").get<std::uint64_t>()),
          grant.at("size").get<std::uint64_t>(), start,
          grant.at("writable").get<bool>() ? "to read and write" : "to read",
          grant.at("rule").get<std::uint64_t>());
}

int explain_address(const DeviceOptions& options, const std::string& state_dir) {
    const std::uint64_t iova = iova_of(options.iova);
    const FoundVm vm = find_living_vm(state_dir, options.address);
    QmpClient qmp{vm.record.qmp_socket};
    const nlohmann::json grants = qmp.execute("query-device-grants", {{"iova", iova}});
    if (options.json) {
        print_json(grants);
        return 0;
    }
    try {
        if (grants.empty()) print("{} has no device of this host\n", vm.record.name);
        for (const auto& grant : grants) print_grant(grant, iova);
    } catch (const nlohmann::json::exception&) {
        throw Failure{Code::Control,
                      fmt::format("the VM '{}' gave an answer that makes no sense", vm.record.name),
                      "its devices are not described as they should be", "end it; report this"};
    }
    return 0;
}

int bind_device(const iommu::host::Sysfs& host, const DeviceFacts& device, const Verdict& verdict,
                DeviceAudit audit) {
    if (!verdict.allowed()) {
        audit.note("refused", device.address, iommu::words_of(verdict.findings.front().reason).name);
        throw Failure{Code::DeviceRefused, fmt::format("{} is not handed over", device.address),
                      reason_names(verdict),
                      fmt::format("holdfast device explain {} says what to do about each", device.address)};
    }
    // Written first: nothing is done of which there is no record.
    audit.note("bound", device.address, "");
    if (const auto bound = host.bind(device.address); !bound) {
        audit.note("bind-failed", device.address, "");
        throw Failure{Code::DeviceDriver, fmt::format("vfio-pci did not get {}", device.address),
                      reason_of(bound.error()), "dmesg says more; the host's driver was offered it again"};
    }
    print("{} is bound to vfio-pci\n", device.address);
    return 0;
}

int unbind_device(const iommu::host::Sysfs& host, const DeviceFacts& device, DeviceAudit audit) {
    if (device.driver != "vfio-pci") {
        throw Failure{Code::DeviceDriver, fmt::format("{} is not bound to vfio-pci", device.address),
                      "only what holdfast device bind did is undone",
                      "holdfast device list shows who has which device"};
    }
    audit.note("unbound", device.address, "");
    if (const auto unbound = host.unbind(device.address); !unbound) {
        throw Failure{Code::DeviceDriver, fmt::format("{} was not given back", device.address),
                      reason_of(unbound.error()), "end the VM that uses it; dmesg says more"};
    }
    print("{} is the host's again\n", device.address);
    return 0;
}

}  // namespace

int run_device(const DeviceOptions& options, const std::string& state_dir) {
    if (options.action == "audit") return show_audit(options, state_dir);
    if (!options.iova.empty()) {
        if (options.action == "explain") return explain_address(options, state_dir);
        throw Failure{Code::Usage, "an address is given to an action that has no use for it",
                      "only explain answers what is at an address", "leave it out"};
    }
    const iommu::host::Sysfs host;
    if (options.action == "unbind") {
        return unbind_device(host, facts_of(host, options.address), DeviceAudit{state_dir});
    }
    const iommu::Policy policy = read_device_policy(options.policy);
    if (options.action == "list") return list_devices(host, policy, options.json);
    const DeviceFacts device = facts_of(host, options.address);
    const Verdict verdict = iommu::judge(policy, device);
    if (options.action == "explain") return explain_device(device, verdict, options.json);
    return bind_device(host, device, verdict, DeviceAudit{state_dir});
}

}  // namespace holdfast::cli
