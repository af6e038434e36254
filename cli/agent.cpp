// SPDX-License-Identifier: Apache-2.0
// holdfast agent: asks a guest's holdfast-agent. Nothing of what it says is believed.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/agent_serve.hpp"
#include "cli/error.hpp"
#include "cli/guest_port.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "guest_agent/call/client.hpp"
#include "guest_agent/call/services.hpp"

namespace holdfast::cli {
namespace {

namespace call = agent::call;
using agent::Bytes;

constexpr std::chrono::seconds kPatience{10};

[[noreturn]] void no_answer(const std::string& vsock, const Error& error) {
    throw Failure{
        Code::Agent, fmt::format("no agent answers behind '{}'", printable(vsock)), reason_of(error),
        "run the VM with --vsock CID=PATH and an image of holdfast image; it needs some seconds to boot"};
}

agent::SecretBuffer ask(const AgentOptions& options, std::uint16_t method) {
    auto stream = connect_guest(options.vsock, call::kGuestPort);
    if (!stream) no_answer(options.vsock, stream.error());
    call::Client guest{std::move(*stream)};
    auto reply = guest.call(call::guest_service::kNumber, method, {}, kPatience);
    if (!reply) no_answer(options.vsock, reply.error());
    return std::move(*reply);
}

int show_status(const AgentOptions& options) {
    const auto reply = ask(options, call::guest_service::kStatus);
    const auto status = call::decode_status(reply.bytes());
    if (!status) no_answer(options.vsock, status.error());
    if (options.json) {
        const nlohmann::ordered_json json{{"version", printable(status->version)},
                                          {"state", printable(status->state)},
                                          {"program_status", status->program_status},
                                          {"uptime_ms", status->uptime_ms},
                                          {"has_tpm", status->has_tpm}};
        print("{}\n", json.dump(2));
        return 0;
    }
    print("agent {}, {}, up {}, TPM {}\n", printable(status->version), printable(status->state),
          age_words(static_cast<std::int64_t>(status->uptime_ms / 1000)), status->has_tpm ? "yes" : "no");
    if (status->state == "ended") print("program ended with status {}\n", status->program_status);
    return 0;
}

}  // namespace

int run_agent(const AgentOptions& options, const std::string& state_dir) {
    if (options.action == "serve") return serve_guest_calls(options, state_dir);
    if (options.action == "status") return show_status(options);
    ask(options, call::guest_service::kPowerOff);
    return 0;
}

}  // namespace holdfast::cli
