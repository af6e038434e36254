// SPDX-License-Identifier: Apache-2.0
// The only source that knows the JSON library, built without exceptions: there a wrong guess about a
// value's type aborts, so whatever a client sent is looked at through pointers (get_ptr), never converted.
#include "vmm/control/protocol.hpp"

#include <algorithm>
#include <array>
#include <ctime>
#include <iterator>
#include <set>

#include <nlohmann/json.hpp>

#include "vmm/control/schema.hpp"

namespace holdfast::control {
namespace {

using nlohmann::json;

struct Call {
    Session& session;
    Machine& machine;
    const json& arguments;  ///< of the command's argument type
};
using Handler = Result<json> (*)(Call&);

struct Command {
    std::string_view name;
    std::string_view arguments;  ///< schema types
    std::string_view result;
    Handler run;
};

struct EventShape {
    EventKind kind;
    std::string_view name;
    std::string_view data;
    json (*fill)(const Event&);
};

std::span<const Command> commands();
std::span<const EventShape> events();

std::string line(const json& message) {
    // Names of VMs and disks are the user's bytes; what is not UTF-8 is replaced, where strict would abort.
    return message.dump(-1, ' ', false, json::error_handler_t::replace) + "\r\n";
}

std::string text(std::string_view a, std::string_view b = {}, std::string_view c = {},
                 std::string_view d = {}, std::string_view e = {}) {
    std::string all;
    for (const std::string_view part : {a, b, c, d, e}) all += part;
    return all;
}

template <typename Enum, std::size_t N>
std::string_view spelling(const std::string_view (&names)[N], Enum value) {
    const auto index = static_cast<std::size_t>(value);
    check(index < N, "enum member without a name");
    return names[index];
}

json failure(std::string_view error_class, std::string_view description) {
    return {{"error", {{"class", error_class}, {"desc", description}}}};
}
json generic_error(std::string_view description) { return failure("GenericError", description); }
json command_not_found(std::string_view description) { return failure("CommandNotFound", description); }

json version() {
    // QEMU's shape, our numbers: a client that asks which QEMU this is shall see that it is none.
    return {{"qemu", {{"major", 0}, {"minor", 1}, {"micro", 0}}}, {"package", "Holdfast 0.1.0"}};
}

Result<json> done(Result<void> result) {
    if (!result) return result.error();
    return json::object();
}

Result<json> qmp_capabilities(Call& call) {
    call.session.negotiated = true;
    return json::object();
}

Result<json> query_version(Call&) { return version(); }

Result<json> query_name(Call& call) {
    json result = json::object();
    if (std::string name = call.machine.name(); !name.empty()) result["name"] = std::move(name);
    return result;
}

Result<json> query_kvm(Call&) { return json{{"enabled", true}, {"present", true}}; }

Result<json> query_status(Call& call) {
    const RunState state = call.machine.run_state();
    return json{{"running", state == RunState::Running}, {"status", spelling(schema::kRunStates, state)}};
}

Result<json> query_cpus_fast(Call& call) {
    json cpus = json::array();
    for (const pid_t thread : call.machine.cpu_threads()) {
        const std::size_t index = cpus.size();
        cpus.push_back({{"cpu-index", index},
                        {"qom-path", text("/machine/cpu[", std::to_string(index), "]")},
                        {"thread-id", thread},
                        {"props", {{"socket-id", 0}, {"core-id", index}, {"thread-id", 0}}},
                        {"target", "x86_64"}});
    }
    return cpus;
}

Result<json> query_block(Call& call) {
    json disks = json::array();
    for (const BlockDevice& disk : call.machine.block_devices()) {
        disks.push_back(
            {{"device", disk.name},
             {"type", "unknown"},
             {"removable", false},
             {"locked", false},
             {"inserted",
              {{"file", disk.name},
               {"drv", "raw"},
               {"ro", disk.read_only},
               {"image", {{"filename", disk.name}, {"format", "raw"}, {"virtual-size", disk.size_bytes}}}}}});
    }
    return disks;
}

// libvirt asks for the nodes of a disk's image too: ours has none.
Result<json> query_blockstats(Call& call) {
    json disks = json::array();
    const auto nodes = call.arguments.find("query-nodes");
    if (nodes != call.arguments.end() && *nodes == true) return disks;
    for (const BlockDevice& disk : call.machine.block_devices()) {
        disks.push_back({{"device", disk.name},
                         {"stats",
                          {{"rd_operations", disk.reads.operations},
                           {"rd_bytes", disk.reads.bytes},
                           {"rd_total_time_ns", disk.reads.nanoseconds},
                           {"wr_operations", disk.writes.operations},
                           {"wr_bytes", disk.writes.bytes},
                           {"wr_total_time_ns", disk.writes.nanoseconds},
                           {"flush_operations", disk.flushes.operations},
                           {"flush_total_time_ns", disk.flushes.nanoseconds},
                           {"unmap_operations", disk.discards.operations},
                           {"unmap_bytes", disk.discards.bytes},
                           {"unmap_total_time_ns", disk.discards.nanoseconds}}}});
    }
    return disks;
}

Result<json> query_chardev(Call& call) {
    json list = json::array();
    for (const Chardev& chardev : call.machine.chardevs()) {
        list.push_back(
            {{"label", chardev.label}, {"filename", chardev.filename}, {"frontend-open", chardev.open}});
    }
    return list;
}

Result<json> query_memcrypt(Call& call) {
    const auto memory = call.machine.memory_statistics();
    if (!memory) return json{{"tier", "none"}};
    const auto& now = memory->now;
    return json{
        {"tier", memory->tier},
        {"suite", memory->suite},
        {"seal-after-ms", memory->seal_after.count()},
        {"page-size", 4096},
        {"pages",
         {{"total", now.pages},
          {"window", now.window},
          {"clear", now.clear},
          {"grace", now.grace},
          {"sealed", now.sealed},
          {"untouched", now.untouched},
          {"zero", now.zero},
          {"exempt", now.exempt},
          {"poisoned", now.poisoned},
          {"most-clear", now.most_clear}}},
        {"faults",
         {{"fresh", now.faults_fresh},
          {"sealed", now.faults_sealed},
          {"grace", now.faults_grace},
          {"raced", now.faults_raced},
          {"latency-ns-log2", now.fault_latency}}},
        {"prefetch", {{"opened", now.ahead}, {"useful", now.ahead_useful}, {"neighbours", now.neighbours}}},
        {"cipher",
         {{"opened", now.opened},
          {"sealed", now.pages_sealed},
          {"seal-ns", now.seal_nanoseconds},
          {"keys", now.keys}}}};
}

Result<json> query_device_grants(Call& call) {
    json list = json::array();
    // A whole number, or the command would not be here; addresses above 2^63 are nobody's.
    const auto* const iova = call.arguments.find("iova")->get_ptr<const json::number_integer_t*>();
    if (iova == nullptr || *iova < 0) return input_error("'iova' is not an address");
    for (const DeviceGrant& grant : call.machine.device_grants(static_cast<std::uint64_t>(*iova))) {
        json entry{{"device", grant.device}, {"rule", grant.rule}, {"mapped", grant.mapped}};
        if (grant.mapped) {
            entry["start"] = grant.start;
            entry["size"] = grant.size;
            entry["target"] = grant.target;
            entry["writable"] = grant.writable;
            entry["granted-at-ms"] = grant.granted_at_ms;
        }
        list.push_back(std::move(entry));
    }
    return list;
}

Result<json> memcrypt_seal(Call& call) { return done(call.machine.seal_memory()); }

Result<json> query_commands(Call&) {
    json list = json::array();
    for (const Command& command : commands()) list.push_back({{"name", command.name}});
    return list;
}

Result<json> stop(Call& call) { return done(call.machine.stop()); }
Result<json> cont(Call& call) { return done(call.machine.resume()); }
Result<json> system_powerdown(Call& call) { return done(call.machine.press_power_button()); }
Result<json> system_reset(Call& call) { return done(call.machine.reset()); }
Result<json> quit(Call& call) { return done(call.machine.quit()); }

json describe_type(const schema::Type& type) {
    json info{{"name", type.name}};
    switch (type.meta) {
        case schema::Meta::Builtin:
            info["meta-type"] = "builtin";
            info["json-type"] = type.json;
            break;
        case schema::Meta::Enum:
            info["meta-type"] = "enum";
            info["values"] = type.values;
            info["members"] = json::array();
            for (const std::string_view value : type.values) info["members"].push_back({{"name", value}});
            break;
        case schema::Meta::Object:
            info["meta-type"] = "object";
            info["members"] = json::array();
            for (const schema::Member& member : type.members) {
                json entry{{"name", member.name}, {"type", member.type}};
                if (member.optional) entry["default"] = nullptr;
                info["members"].push_back(std::move(entry));
            }
            break;
    }
    return info;
}

Result<json> query_qmp_schema(Call&) {
    json list = json::array();
    std::set<std::string_view> arrays;
    const auto uses = [&arrays](std::string_view type) {
        if (!schema::element(type).empty()) arrays.insert(type);
    };
    for (const Command& command : commands()) {
        uses(command.result);
        list.push_back({{"name", command.name},
                        {"meta-type", "command"},
                        {"arg-type", command.arguments},
                        {"ret-type", command.result},
                        {"allow-oob", false}});
    }
    for (const EventShape& event : events()) {
        list.push_back({{"name", event.name}, {"meta-type", "event"}, {"arg-type", event.data}});
    }
    for (const schema::Type& type : schema::types()) {
        for (const schema::Member& member : type.members) uses(member.type);
        list.push_back(describe_type(type));
    }
    for (const std::string_view type : arrays) {
        list.push_back({{"name", type}, {"meta-type", "array"}, {"element-type", schema::element(type)}});
    }
    return list;
}

/// Everything there is. A command that needs more of the machine adds a method to Machine, its types
/// to schema.cpp, and a row.
constexpr Command kCommands[] = {
    {"qmp_capabilities", "q_obj_qmp_capabilities-arg", "q_empty", qmp_capabilities},
    {"query-version", "q_empty", "VersionInfo", query_version},
    {"query-commands", "q_empty", "[CommandInfo]", query_commands},
    {"query-qmp-schema", "q_empty", "[SchemaInfo]", query_qmp_schema},
    {"query-name", "q_empty", "NameInfo", query_name},
    {"query-kvm", "q_empty", "KvmInfo", query_kvm},
    {"query-status", "q_empty", "StatusInfo", query_status},
    {"query-cpus-fast", "q_empty", "[CpuInfoFast]", query_cpus_fast},
    {"query-block", "q_empty", "[BlockInfo]", query_block},
    {"query-blockstats", "q_obj_query-blockstats-arg", "[BlockStats]", query_blockstats},
    {"query-chardev", "q_empty", "[ChardevInfo]", query_chardev},
    {"query-memcrypt", "q_empty", "MemcryptInfo", query_memcrypt},
    {"query-device-grants", "q_obj_query-device-grants-arg", "[DeviceGrant]", query_device_grants},
    {"memcrypt-seal", "q_empty", "q_empty", memcrypt_seal},
    {"stop", "q_empty", "q_empty", stop},
    {"cont", "q_empty", "q_empty", cont},
    {"system_powerdown", "q_empty", "q_empty", system_powerdown},
    {"system_reset", "q_empty", "q_empty", system_reset},
    {"quit", "q_empty", "q_empty", quit},
};
std::span<const Command> commands() { return kCommands; }

json no_data(const Event&) { return {}; }
json cause_data(const Event& event) {
    return {{"guest", event.cause >= Cause::GuestShutdown},
            {"reason", spelling(schema::kCauses, event.cause)}};
}
json panic_data(const Event& event) { return {{"action", spelling(schema::kPanicActions, event.action)}}; }

constexpr EventShape kEvents[] = {
    {EventKind::Stop, "STOP", "q_empty", no_data},
    {EventKind::Resume, "RESUME", "q_empty", no_data},
    {EventKind::Shutdown, "SHUTDOWN", "q_obj_SHUTDOWN-arg", cause_data},
    {EventKind::Reset, "RESET", "q_obj_SHUTDOWN-arg", cause_data},
    {EventKind::Powerdown, "POWERDOWN", "q_empty", no_data},
    {EventKind::GuestPanicked, "GUEST_PANICKED", "q_obj_GUEST_PANICKED-arg", panic_data},
};
std::span<const EventShape> events() { return kEvents; }

/// What is wrong with `value` as a `type`, empty if nothing is. `path` names it to the client.
std::string mismatch(const json& value, std::string_view type, const std::string& path) {
    const auto expected = [&path](std::string_view what) {
        return text("Invalid parameter type for '", path, "', expected: ", what);
    };
    if (const std::string_view element = schema::element(type); !element.empty()) {
        const auto* const list = value.get_ptr<const json::array_t*>();
        if (list == nullptr) return expected("array");
        for (std::size_t i = 0; i < list->size(); ++i) {
            std::string wrong = mismatch((*list)[i], element, text(path, "[", std::to_string(i), "]"));
            if (!wrong.empty()) return wrong;
        }
        return {};
    }
    const schema::Type* const shape = schema::find(type);
    check(shape != nullptr, "a member has a type that is not in the schema");
    switch (shape->meta) {
        case schema::Meta::Builtin:
            if (shape->json == "string" && !value.is_string()) return expected("string");
            if (shape->json == "int" && !value.is_number_integer()) return expected("integer");
            if (shape->json == "boolean" && !value.is_boolean()) return expected("boolean");
            return {};
        case schema::Meta::Enum: {
            const auto* const word = value.get_ptr<const std::string*>();
            if (word == nullptr) return expected("string");
            if (std::ranges::find(shape->values, *word) != shape->values.end()) return {};
            return text("Parameter '", path, "' does not accept value '", *word, "'");
        }
        case schema::Meta::Object: break;
    }
    if (!value.is_object()) return expected("object");
    for (const schema::Member& member : shape->members) {
        const auto given = value.find(member.name);
        if (given == value.end()) {
            if (!member.optional) return text("Parameter '", member.name, "' is missing");
            continue;
        }
        std::string wrong = mismatch(*given, member.type, std::string{member.name});
        if (!wrong.empty()) return wrong;
    }
    for (const auto& [key, unused] : *value.get_ptr<const json::object_t*>()) {
        if (std::ranges::find(shape->members, key, &schema::Member::name) == shape->members.end()) {
            return text("Parameter '", key, "' is unexpected");
        }
    }
    return {};
}

/// The same checks as QEMU's qmp_dispatch_check_obj(), with its texts. Empty if it is a command.
std::string not_a_command(const json& message) {
    const auto* const members = message.get_ptr<const json::object_t*>();
    if (members == nullptr) return "QMP input must be a JSON object";
    for (const auto& [key, value] : *members) {
        if (key == "execute") {
            if (!value.is_string()) return "QMP input member 'execute' must be a string";
        } else if (key == "arguments") {
            if (!value.is_object()) return "QMP input member 'arguments' must be an object";
        } else if (key != "id") {
            return text("QMP input member '", key, "' is unexpected");
        }
    }
    return members->contains("execute") ? "" : "QMP input lacks member 'execute'";
}

std::string explain(const Error& error) {
    if (error.os_errno == 0) return error.what;
    return text(error.what, ": ", errno_name(error.os_errno));
}

json execute(const json& message, Session& session, Machine& machine) {
    if (const std::string wrong = not_a_command(message); !wrong.empty()) return generic_error(wrong);
    const auto& name = *message.find("execute")->get_ptr<const std::string*>();
    const bool negotiates = name == "qmp_capabilities";
    if (!session.negotiated && !negotiates) {
        return command_not_found("Expecting capabilities negotiation with 'qmp_capabilities'");
    }
    if (session.negotiated && negotiates) {
        return command_not_found("Capabilities negotiation is already complete, command ignored");
    }
    const auto* const command = std::ranges::find(kCommands, name, &Command::name);
    if (command == std::end(kCommands)) {
        return command_not_found(text("The command ", name, " has not been found"));
    }
    const auto arguments = message.find("arguments");
    const json given = arguments == message.end() ? json::object() : *arguments;
    if (const std::string wrong = mismatch(given, command->arguments, "arguments"); !wrong.empty()) {
        return generic_error(wrong);
    }
    Call call{session, machine, given};
    auto result = command->run(call);
    if (!result) return generic_error(explain(result.error()));
    return {{"return", std::move(*result)}};
}

}  // namespace

std::string greeting() { return line({{"QMP", {{"version", version()}, {"capabilities", json::array()}}}}); }

std::string answer(std::string_view message_text, Session& session, Machine& machine) {
    const json message = json::parse(message_text, nullptr, false);
    if (message.is_discarded()) return json_error("parse error, not a JSON text");
    json reply = execute(message, session, machine);
    if (message.is_object()) {
        if (const auto id = message.find("id"); id != message.end()) reply["id"] = *id;
    }
    return line(reply);
}

std::string json_error(std::string_view why) { return line(generic_error(text("JSON ", why))); }

std::string describe(const Event& event) {
    const auto* const shape = std::ranges::find(kEvents, event.kind, &EventShape::kind);
    check(shape != std::end(kEvents), "event without a row in the table");
    std::timespec now{};
    std::timespec_get(&now, TIME_UTC);
    json message{{"event", shape->name},
                 {"timestamp", {{"seconds", now.tv_sec}, {"microseconds", now.tv_nsec / 1000}}}};
    if (json data = shape->fill(event); !data.is_null()) message["data"] = std::move(data);
    return line(message);
}

}  // namespace holdfast::control
