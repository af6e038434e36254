// SPDX-License-Identifier: Apache-2.0
#include "libvirt/answers.hpp"

#include <algorithm>

#include "libvirt/advertised.hpp"
#include "libvirt/json.hpp"

namespace holdfast::libvirt {
namespace {

using nlohmann::json;

/// One command's answer: QMP's "return" or "error" member.
using Handler = json (*)(const json& arguments, Domain& domain);

struct Command {
    std::string_view name;
    Handler run;
    std::string_view argument = {};  ///< the one argument, a string that must be given
};

json done(json value) { return {{"return", std::move(value)}}; }
json failed(std::string_view error_class, std::string_view description) {
    return {{"error", {{"class", error_class}, {"desc", description}}}};
}
json generic_error(std::string_view description) { return failed("GenericError", description); }

json empty_list(const json&, Domain&) { return done(json::array()); }

json version() {
    return {{"qemu", {{"major", kQemuMajor}, {"minor", 0}, {"micro", 0}}}, {"package", "Holdfast 0.1.0"}};
}
json query_version(const json&, Domain&) { return done(version()); }
json query_target(const json&, Domain&) { return done({{"arch", "x86_64"}}); }
json query_kvm(const json&, Domain&) { return done({{"enabled", true}, {"present", true}}); }
json query_name(const json&, Domain& domain) { return done({{"name", domain.plan.name}}); }

json query_machines(const json&, Domain&) {
    return done({{{"name", kMachine},
                  {"alias", kMachineAlias},
                  {"is-default", true},
                  {"cpu-max", kMostCpus},
                  {"hotpluggable-cpus", false},
                  {"numa-mem-supported", false},
                  {"deprecated", false},
                  {"default-cpu-type", "host-x86_64-cpu"},
                  {"default-ram-id", kRamId},
                  {"acpi", true}},
                 {{"name", "none"},
                  {"cpu-max", 1},
                  {"hotpluggable-cpus", false},
                  {"numa-mem-supported", false},
                  {"deprecated", false}}});
}

json query_cpu_definitions(const json&, Domain&) {
    return done({{{"name", "host"},
                  {"typename", "host-x86_64-cpu"},
                  {"unavailable-features", json::array()},
                  {"migration-safe", false},
                  {"static", false},
                  {"deprecated", false}}});
}

json query_migrate_capabilities(const json&, Domain&) {
    return done({{{"capability", "events"}, {"state", false}}});
}
json query_tpm_models(const json&, Domain&) { return done({"tpm-crb"}); }
json query_tpm_types(const json&, Domain&) { return done({"emulator"}); }

json qom_list_types(const json&, Domain&) {
    json list = json::array();
    for (const Type& type : advertised_types()) list.push_back({{"name", type.name}});
    return done(std::move(list));
}

json device_list_properties(const json& arguments, Domain&) {
    const std::string name = text_of(arguments, "typename");
    const Type* const type = find_type(name);
    if (type == nullptr) return failed("DeviceNotFound", "Device '" + name + "' not found");
    json list = json::array();
    for (const std::string_view property : type->properties)
        list.push_back({{"name", property}, {"type", "str"}});
    return done(std::move(list));
}

json qom_list(const json& arguments, Domain& domain) {
    json list = json::array();
    if (text_of(arguments, "path") == "/machine/peripheral") {
        for (const std::string& id : domain.plan.devices)
            list.push_back({{"name", id}, {"type", "child<device>"}});
    }
    return done(std::move(list));
}

// libvirt asks this of each vCPU when it finds its guests again, and ends the guest for want of an answer.
json qom_get(const json& arguments, Domain&) {
    if (text_of(arguments, "path").starts_with("/machine/cpu[") &&
        text_of(arguments, "property") == "migratable") {
        return done(false);
    }
    return generic_error("Property not found");
}

json query_chardev(const json&, Domain& domain) {
    json list = json::array();
    if (const auto& console = domain.plan.console) {
        list.push_back({{"label", console->id}, {"filename", domain.console_name}, {"frontend-open", true}});
    }
    return done(std::move(list));
}

std::string back_end_of(const Disk& disk) { return "/machine/peripheral/" + disk.id + "/virtio-backend"; }

json query_block(const json&, Domain& domain) {
    json list = json::array();
    for (const Disk& disk : domain.plan.disks) {
        list.push_back(
            {{"device", ""},
             {"qdev", back_end_of(disk)},
             {"type", "unknown"},
             {"removable", false},
             {"locked", false},
             {"inserted",
              {{"node-name", disk.node}, {"file", disk.path}, {"drv", "raw"}, {"ro", disk.read_only}}}});
    }
    return done(std::move(list));
}

json ask(Domain& domain, std::string_view command) {
    if (domain.vm == nullptr) return generic_error("the VM has ended");
    auto answer = domain.vm->ask(command);
    if (!answer) return generic_error(answer.error().what);
    return std::move(*answer);
}

// What the VM says of its disks, with what libvirt knows them by: they are in the plan's order.
json disks_of_vm(Domain& domain, std::string_view command, void (*name)(json& entry, const Disk& disk)) {
    json list = json::array();
    if (domain.vm == nullptr) return done(std::move(list));
    json answer = ask(domain, command);
    const auto said = answer.find("return");
    if (said == answer.end() || !said->is_array()) return answer;
    for (const Disk& disk : domain.plan.disks) {
        if (list.size() == said->size()) break;
        json entry = (*said)[list.size()];
        if (!entry.is_object()) return generic_error("the VM's answer is not a list of disks");
        name(entry, disk);
        list.push_back(std::move(entry));
    }
    return done(std::move(list));
}

json query_blockstats(const json& arguments, Domain& domain) {
    const auto nodes = arguments.find("query-nodes");
    if (nodes != arguments.end() && *nodes == true) return done(json::array());
    return disks_of_vm(domain, "query-blockstats", [](json& entry, const Disk& disk) {
        entry["device"] = "";
        entry["qdev"] = back_end_of(disk);
        entry["node-name"] = disk.node;
    });
}

json query_named_block_nodes(const json&, Domain& domain) {
    return disks_of_vm(domain, "query-block", [](json& entry, const Disk& disk) {
        const auto inserted = entry.find("inserted");
        if (inserted == entry.end() || !inserted->is_object()) return;
        json node = *inserted;
        node["node-name"] = disk.node;
        node["file"] = disk.path;
        entry = std::move(node);
    });
}

// What libvirt may turn on here is nothing that a VM of ours does.
json migrate_set_capabilities(const json&, Domain&) { return done(json::object()); }

json query_status(const json&, Domain& domain) {
    if (domain.vm != nullptr) return ask(domain, "query-status");
    return done({{"running", false}, {"status", domain.plan.probe ? "prelaunch" : "shutdown"}});
}

json quit(const json&, Domain& domain) {
    domain.quit = true;
    return done(json::object());
}

json query_commands(const json&, Domain&);
json query_qmp_schema(const json&, Domain&);
json qmp_capabilities(const json&, Domain&) { return done(json::object()); }

constexpr Command kCommands[] = {
    {"qmp_capabilities", qmp_capabilities},
    {"query-version", query_version},
    {"query-commands", query_commands},
    {"query-qmp-schema", query_qmp_schema},
    {"query-target", query_target},
    {"query-kvm", query_kvm},
    {"query-name", query_name},
    {"query-machines", query_machines},
    {"query-cpu-definitions", query_cpu_definitions},
    {"query-migrate-capabilities", query_migrate_capabilities},
    {"migrate-set-capabilities", migrate_set_capabilities},
    {"query-tpm-models", query_tpm_models},
    {"query-tpm-types", query_tpm_types},
    {"query-command-line-options", empty_list},
    {"qom-list-types", qom_list_types},
    {"qom-list-properties", empty_list},
    {"device-list-properties", device_list_properties, "typename"},
    {"qom-list", qom_list, "path"},
    {"qom-get", qom_get, "property"},
    {"query-chardev", query_chardev},
    {"query-block", query_block},
    {"query-blockstats", query_blockstats},
    {"query-named-block-nodes", query_named_block_nodes},
    {"query-iothreads", empty_list},
    {"query-jobs", empty_list},
    {"query-status", query_status},
    {"quit", quit},
};

// Asked of the VM itself.
constexpr std::string_view kPassedOn[] = {
    "query-cpus-fast", "query-memcrypt", "memcrypt-seal", "stop", "cont", "system_powerdown", "system_reset"};
constexpr std::string_view kEvents[] = {"STOP", "RESUME", "SHUTDOWN", "RESET", "POWERDOWN", "GUEST_PANICKED"};

json query_commands(const json&, Domain&) {
    json list = json::array();
    for (const Command& command : kCommands) list.push_back({{"name", command.name}});
    for (const std::string_view name : kPassedOn) list.push_back({{"name", name}});
    return done(std::move(list));
}

// Only the names: libvirt looks here for what it may use beyond the least. It finds the kinds of networks by
// a command that plugs one in, which is not among ours.
json query_qmp_schema(const json&, Domain&) {
    json list = json::array();
    const auto add = [&list](std::string_view name, const char* kind) {
        list.push_back({{"name", name}, {"meta-type", kind}, {"arg-type", "q_empty"}});
        if (kind == std::string_view{"command"}) list.back()["ret-type"] = "any";
    };
    for (const Command& command : kCommands) add(command.name, "command");
    for (const std::string_view name : kPassedOn) add(name, "command");
    for (const std::string_view name : kEvents) add(name, "event");
    add("netdev_add", "command");
    list.back()["arg-type"] = "netdev";
    list.push_back({{"name", "netdev"},
                    {"meta-type", "object"},
                    {"tag", "type"},
                    {"variants", json::array({{{"case", kNetTap}, {"type", "q_empty"}},
                                              {{"case", kNetUser}, {"type", "q_empty"}}})},
                    {"members", json::array({{{"name", "type"}, {"type", "netdev-type"}}})}});
    list.push_back(
        {{"name", "netdev-type"}, {"meta-type", "enum"}, {"values", json::array({kNetTap, kNetUser})}});
    list.push_back({{"name", "q_empty"}, {"meta-type", "object"}, {"members", json::array()}});
    list.push_back({{"name", "any"}, {"meta-type", "builtin"}, {"json-type", "value"}});
    return done(std::move(list));
}

json carry_out(const json& message, control::Session& session, Domain& domain) {
    const std::string name = text_of(message, "execute");
    if (name.empty()) return generic_error("QMP input lacks member 'execute'");
    const bool negotiates = name == "qmp_capabilities";
    if (!session.negotiated && !negotiates) {
        return failed("CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'");
    }
    if (session.negotiated && negotiates) {
        return failed("CommandNotFound", "Capabilities negotiation is already complete, command ignored");
    }
    session.negotiated = true;
    if (std::ranges::find(kPassedOn, name) != std::end(kPassedOn)) return ask(domain, name);
    const auto* const command = std::ranges::find(kCommands, name, &Command::name);
    if (command == std::end(kCommands)) {
        return failed("CommandNotFound", "The command " + printable(name) + " has not been found");
    }
    const auto found = message.find("arguments");
    const json arguments = found == message.end() ? json::object() : *found;
    if (!command->argument.empty() && text_of(arguments, command->argument).empty()) {
        return generic_error("Parameter '" + std::string{command->argument} + "' is missing");
    }
    return command->run(arguments, domain);
}

}  // namespace

std::string greeting() {
    return one_line({{"QMP", {{"version", version()}, {"capabilities", json::array()}}}}) + "\r\n";
}

std::string answer(std::string_view text, control::Session& session, Domain& domain) {
    const auto message = parse_object(text);
    if (!message) return one_line(generic_error("QMP input must be a JSON object")) + "\r\n";
    json reply = carry_out(*message, session, domain);
    if (const auto id = message->find("id"); id != message->end()) reply["id"] = *id;
    return one_line(reply) + "\r\n";
}

}  // namespace holdfast::libvirt
