// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/protocol.hpp"

#include <array>
#include <map>
#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/unit/vmm/control/fake_machine.hpp"

namespace holdfast::control {
namespace {

using nlohmann::json;

class ProtocolTest : public testing::Test {
protected:
    json ask(std::string_view text) {
        const std::string reply = answer(text, session, machine);
        EXPECT_TRUE(reply.ends_with("\r\n"));
        return json::parse(reply);
    }
    json result(const std::string& command, const json& arguments = json::object()) {
        const json reply = ask(json{{"execute", command}, {"arguments", arguments}}.dump());
        EXPECT_TRUE(reply.contains("return")) << reply;
        return reply.value("return", json{});
    }
    void expect_error(std::string_view text, const std::string& error_class, const std::string& words) {
        const json reply = ask(text);
        ASSERT_TRUE(reply.contains("error")) << reply;
        EXPECT_EQ(reply["error"]["class"], error_class);
        EXPECT_EQ(reply["error"]["desc"], words);
    }
    FakeMachine machine;
    Session session{.negotiated = true};
};

/// Checks values against the schema that query-qmp-schema gives, as a client would.
class Validator {
public:
    explicit Validator(const json& schema) {
        for (const json& entry : schema) {
            EXPECT_TRUE(entries_[entry["meta-type"] == "command" || entry["meta-type"] == "event"]
                            .emplace(entry["name"], entry)
                            .second)
                << entry;
        }
    }
    const std::map<std::string, json>& messages() const { return entries_.at(true); }

    void check(const json& value, const std::string& type, const std::string& where) {
        ASSERT_TRUE(entries_[false].contains(type)) << where << ": no type " << type;
        const json& entry = entries_[false][type];
        if (entry["meta-type"] == "builtin") {
            const std::string is = entry["json-type"];
            EXPECT_TRUE(is == "value" || (is == "string" && value.is_string()) ||
                        (is == "int" && value.is_number_integer()) || (is == "boolean" && value.is_boolean()))
                << where << ": " << value << " is no " << is;
        } else if (entry["meta-type"] == "enum") {
            EXPECT_NE(std::ranges::find(entry["values"], value), entry["values"].end()) << where << value;
        } else if (entry["meta-type"] == "array") {
            ASSERT_TRUE(value.is_array()) << where;
            for (const json& item : value) check(item, entry["element-type"], where + "[]");
        } else {
            ASSERT_TRUE(value.is_object()) << where;
            std::set<std::string> known;
            for (const json& member : entry["members"]) {
                const std::string name = member["name"];
                known.insert(name);
                if (value.contains(name)) check(value[name], member["type"], where + "." + name);
                else EXPECT_TRUE(member.contains("default")) << where << " lacks " << name;
            }
            for (const auto& [key, unused] : value.items()) {
                EXPECT_TRUE(known.contains(key)) << where << " has undeclared " << key;
            }
        }
    }

private:
    std::map<bool, std::map<std::string, json>> entries_;
};

TEST_F(ProtocolTest, GreetingHasVersionAndCapabilities) {
    const json hello = json::parse(greeting());
    EXPECT_EQ(hello["QMP"]["version"], result("query-version"));
    EXPECT_EQ(hello["QMP"]["capabilities"], json::array());
}

TEST_F(ProtocolTest, EverythingAdvertisedIsImplementedAndTheOtherWayRound) {
    Validator schema{result("query-qmp-schema")};
    std::set<std::string> advertised;
    std::set<std::string> listed;
    std::set<std::string> told;
    for (const auto& [name, entry] : schema.messages()) {
        SCOPED_TRACE(name);
        if (entry["meta-type"] == "event") {
            told.insert(name);
            continue;
        }
        advertised.insert(name);
        session.negotiated = name != "qmp_capabilities";
        const json arguments = name == "query-device-grants" ? json{{"iova", 4096}} : json::object();
        schema.check(result(name, arguments), entry["ret-type"], name);
        schema.check(arguments, entry["arg-type"], name + " arguments");
    }
    for (const json& command : result("query-commands")) listed.insert(command["name"].get<std::string>());
    EXPECT_EQ(advertised, listed);

    std::set<std::string> sent;
    for (const EventKind kind : {EventKind::Stop, EventKind::Resume, EventKind::Shutdown, EventKind::Reset,
                                 EventKind::Powerdown, EventKind::GuestPanicked}) {
        const json event = json::parse(describe({.kind = kind}));
        const std::string name = event["event"];
        sent.insert(name);
        ASSERT_TRUE(schema.messages().contains(name)) << name;
        schema.check(event.value("data", json::object()), schema.messages().at(name)["arg-type"], name);
    }
    EXPECT_EQ(sent, told);
}

TEST_F(ProtocolTest, GrantsOfDevicesAreToldForOneAddress) {
    machine.grants = {{.device = "0000:01:00.0", .rule = 1},
                      {.device = "0000:02:00.0",
                       .rule = 2,
                       .mapped = true,
                       .start = 0x1000,
                       .size = 0x2000,
                       .target = 0x5000,
                       .writable = true,
                       .granted_at_ms = 7}};
    const json told = result("query-device-grants", {{"iova", 0x1800}});
    EXPECT_EQ(told[0], (json{{"device", "0000:01:00.0"}, {"rule", 1}, {"mapped", false}}));
    EXPECT_EQ(told[1]["target"], 0x5000);
    EXPECT_EQ(told[1]["granted-at-ms"], 7);
    EXPECT_TRUE(ask(R"({"execute":"query-device-grants","arguments":{"iova":-1}})").contains("error"));
    EXPECT_TRUE(ask(R"({"execute":"query-device-grants","arguments":{"iova":18446744073709551615}})")
                    .contains("error"));
    EXPECT_TRUE(ask(R"({"execute":"query-device-grants"})").contains("error"));
}

TEST_F(ProtocolTest, ArgumentsAreCheckedAgainstTheSchema) {
    session.negotiated = false;
    expect_error(R"({"execute":"qmp_capabilities","arguments":{"enable":"oob"}})", "GenericError",
                 "Invalid parameter type for 'enable', expected: array");
    expect_error(R"({"execute":"qmp_capabilities","arguments":{"enable":[3]}})", "GenericError",
                 "Invalid parameter type for 'enable[0]', expected: string");
    expect_error(R"({"execute":"qmp_capabilities","arguments":{"enable":["oob"]}})", "GenericError",
                 "Parameter 'enable[0]' does not accept value 'oob'");
    expect_error(R"({"execute":"qmp_capabilities","arguments":{"x":1}})", "GenericError",
                 "Parameter 'x' is unexpected");
    EXPECT_FALSE(session.negotiated);
    EXPECT_EQ(ask(R"({"execute":"qmp_capabilities","arguments":{"enable":[]}})"),
              (json{{"return", json::object()}}));
    EXPECT_TRUE(session.negotiated);
}

TEST_F(ProtocolTest, NothingRunsBeforeNegotiation) {
    session.negotiated = false;
    expect_error(R"({"execute":"quit"})", "CommandNotFound",
                 "Expecting capabilities negotiation with 'qmp_capabilities'");
    EXPECT_EQ(machine.quits, 0);
}

TEST_F(ProtocolTest, NegotiationHappensOnce) {
    expect_error(R"({"execute":"qmp_capabilities"})", "CommandNotFound",
                 "Capabilities negotiation is already complete, command ignored");
}

TEST_F(ProtocolTest, MalformedMessagesGetQemusWords) {
    expect_error("[1]", "GenericError", "QMP input must be a JSON object");
    expect_error("12", "GenericError", "QMP input must be a JSON object");
    expect_error("{}", "GenericError", "QMP input lacks member 'execute'");
    expect_error(R"({"execute":3})", "GenericError", "QMP input member 'execute' must be a string");
    expect_error(R"({"execute":"stop","arguments":[]})", "GenericError",
                 "QMP input member 'arguments' must be an object");
    expect_error(R"({"execute":"stop","foo":1})", "GenericError", "QMP input member 'foo' is unexpected");
    expect_error(R"({"exec-oob":"stop"})", "GenericError", "QMP input member 'exec-oob' is unexpected");
    expect_error(R"({"execute":"nope"})", "CommandNotFound", "The command nope has not been found");
    expect_error(R"({"execute":"stop","arguments":{"a":1}})", "GenericError", "Parameter 'a' is unexpected");
    EXPECT_EQ(machine.state, RunState::Running);
}

TEST_F(ProtocolTest, BytesThatAreNoJsonAreAnError) {
    for (const std::string_view text :
         {"{", "}", "nul", "", "{\"execute\":}", "{\"a\":1e400}", "{\"execute\":\"\xc3(\"}", "\"\\ud800\"",
          "{\"execute\":\"stop\"}}"}) {
        const json reply = ask(text);
        EXPECT_EQ(reply["error"]["class"], "GenericError") << text;
        EXPECT_TRUE(reply["error"]["desc"].get<std::string>().starts_with("JSON parse error")) << reply;
    }
}

TEST_F(ProtocolTest, IdOfAnyTypeComesBackWithResultsAndErrors) {
    for (const char* const id :
         {"1", "18446744073709551615", "null", "\"x\\u0000y\"", "[1,{\"a\":null}]", "-0.5"}) {
        const json expected = json::parse(id);
        EXPECT_EQ(ask(std::string{R"({"execute":"query-name","id":)"} + id + "}").at("id"), expected);
        EXPECT_EQ(ask(std::string{R"({"execute":"nope","id":)"} + id + "}").at("id"), expected);
        EXPECT_EQ(ask(std::string{R"({"id":)"} + id + "}").at("id"), expected);
    }
    EXPECT_FALSE(ask(R"({"execute":"query-name"})").contains("id"));
}

TEST_F(ProtocolTest, CommandsReachTheMachine) {
    result("stop");
    EXPECT_EQ(result("query-status"), (json{{"running", false}, {"status", "paused"}}));
    result("cont");
    EXPECT_EQ(result("query-status"), (json{{"running", true}, {"status", "running"}}));
    result("system_powerdown");
    result("system_reset");
    result("quit");
    EXPECT_EQ(machine.presses, 1);
    EXPECT_EQ(machine.resets, 1);
    EXPECT_EQ(machine.quits, 1);
}

TEST_F(ProtocolTest, MachinesErrorIsTheDescription) {
    machine.fails = {Fault::Os, 11, "stop the vCPUs"};
    expect_error(R"({"execute":"stop"})", "GenericError", "stop the vCPUs: EAGAIN");
    machine.fails = input_error("Resetting the Virtual Machine is required");
    expect_error(R"({"execute":"stop"})", "GenericError", "Resetting the Virtual Machine is required");
}

TEST_F(ProtocolTest, CpusAndDisksAreListed) {
    const json cpus = result("query-cpus-fast");
    ASSERT_EQ(cpus.size(), 2U);
    EXPECT_EQ(cpus[1]["thread-id"], 102);
    EXPECT_EQ(cpus[1]["cpu-index"], 1);
    const json disks = result("query-block");
    EXPECT_EQ(disks[0]["inserted"]["image"]["virtual-size"], 1ULL << 40);
    EXPECT_EQ(disks[0]["inserted"]["ro"], true);
    const json stats = result("query-blockstats")[0]["stats"];
    EXPECT_EQ((std::array{stats["rd_operations"], stats["rd_bytes"], stats["rd_total_time_ns"]}),
              (std::array<json, 3>{3, 12288, 90}));
    EXPECT_EQ(stats["wr_operations"], 0);
}

TEST_F(ProtocolTest, NameThatIsNotUtf8DoesNotEndUs) {
    machine.vm_name = "a\xff";
    EXPECT_EQ(result("query-name")["name"], "a\xef\xbf\xbd");
    machine.vm_name = "";
    EXPECT_EQ(result("query-name"), json::object());
}

TEST_F(ProtocolTest, EventsCarryTimeAndData) {
    const json event = json::parse(describe({.kind = EventKind::Shutdown, .cause = Cause::GuestShutdown}));
    EXPECT_EQ(event["data"], (json{{"guest", true}, {"reason", "guest-shutdown"}}));
    EXPECT_GT(event["timestamp"]["seconds"], 1'600'000'000);
    EXPECT_LT(event["timestamp"]["microseconds"], 1'000'000);
    const json host = json::parse(describe({.kind = EventKind::Reset, .cause = Cause::HostQmpSystemReset}));
    EXPECT_EQ(host["data"], (json{{"guest", false}, {"reason", "host-qmp-system-reset"}}));
    EXPECT_FALSE(json::parse(describe({.kind = EventKind::Stop})).contains("data"));
    const json panic =
        json::parse(describe({.kind = EventKind::GuestPanicked, .action = PanicAction::Pause}));
    EXPECT_EQ(panic["data"], (json{{"action", "pause"}}));
}

}  // namespace
}  // namespace holdfast::control
