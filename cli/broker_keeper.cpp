// SPDX-License-Identifier: Apache-2.0
#include "cli/broker_keeper.hpp"

#include <algorithm>
#include <array>
#include <csignal>

#include <sys/socket.h>
#include <unistd.h>

#include "cli/error.hpp"
#include "sys/socket.hpp"
#include "sys/wire/codec.hpp"

namespace holdfast::cli {
namespace {

enum class Op : std::uint8_t { Recall, Remember };
enum class Answer : std::uint8_t { Failed, Nothing, Found };

constexpr std::size_t kMaxSigner = 64;  // SHA-256 in hexadecimal
constexpr std::size_t kMaxMessage = 256;

struct Ask {
    Op op = Op::Recall;
    std::uint32_t file = 0;
    std::string signer;
    Memory memory;
};

void put(WireWriter& writer, const Memory& memory) {
    writer.put(memory.clock.clock);
    writer.put(memory.clock.reset_count);
    writer.put(memory.clock.restart_count);
    writer.put(memory.counter);
}

Result<Memory> get_memory(WireReader& reader) {
    Memory memory;
    memory.clock.clock = HF_TRY(reader.get<std::uint64_t>());
    memory.clock.reset_count = HF_TRY(reader.get<std::uint32_t>());
    memory.clock.restart_count = HF_TRY(reader.get<std::uint32_t>());
    memory.counter = HF_TRY(reader.get<std::uint64_t>());
    return memory;
}

Result<Ask> decode(std::span<const std::byte> bytes) {
    WireReader reader{bytes};
    const auto op = HF_TRY(reader.get<std::uint8_t>());
    if (op > static_cast<std::uint8_t>(Op::Remember)) return peer_fault("unknown question");
    Ask ask{
        .op = static_cast<Op>(op), .file = HF_TRY(reader.get<std::uint32_t>()), .signer = {}, .memory = {}};
    const auto signer = HF_TRY(reader.get_bytes());
    const auto is_digit = [](std::byte b) {
        const char c = static_cast<char>(b);
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    };
    if (signer.size() != kMaxSigner || !std::ranges::all_of(signer, is_digit)) return peer_fault("no signer");
    for (const std::byte b : signer) ask.signer += static_cast<char>(b);
    ask.memory = HF_TRY(get_memory(reader));
    HF_TRY(reader.expect_end());
    return ask;
}

/// What the file says, or that it cannot be used: said to whoever runs the broker.
void answer(const Ask& ask, const std::string& file, WireWriter& writer) {
    try {
        const Memories memories = memories_in(file);
        std::optional<Memory> found;
        if (ask.op == Op::Recall) found = memories.recall(ask.signer);
        else memories.remember(ask.signer, ask.memory);
        writer.put(static_cast<std::uint8_t>(found ? Answer::Found : Answer::Nothing));
        if (found) put(writer, *found);
    } catch (const Failure& failure) {
        failure.print();
        writer.put(static_cast<std::uint8_t>(Answer::Failed));
    }
}

/// Until the broker has ended, or says what it would never say.
void keep(const UniqueFd& socket, const std::vector<std::string>& files) {
    while (true) {
        const auto message = receive_message(socket, kMaxMessage);
        if (!message || message->bytes.empty()) return;
        const auto ask = decode(message->bytes);
        if (!ask || ask->file >= files.size()) return;
        WireWriter writer;
        answer(*ask, files[ask->file], writer);
        if (!send_message(socket, writer.bytes())) return;
    }
}

[[noreturn]] void fail(const Error& error) {
    throw Failure{Code::Broker, "what was seen last is not kept", reason_of(error),
                  "the process beside the broker that keeps it says more"};
}

std::optional<Memory> ask_keeper(const UniqueFd& socket, const Ask& ask) {
    WireWriter writer;
    writer.put(static_cast<std::uint8_t>(ask.op));
    writer.put(ask.file);
    writer.put_string(ask.signer);
    put(writer, ask.memory);
    const auto told = [&]() -> Result<std::optional<Memory>> {
        HF_TRY(send_message(socket, writer.bytes()));
        const auto message = HF_TRY(receive_message(socket, kMaxMessage));
        WireReader reader{message.bytes};
        const auto found = HF_TRY(reader.get<std::uint8_t>());
        if (found == static_cast<std::uint8_t>(Answer::Failed)) return peer_fault("the file cannot be used");
        if (found == static_cast<std::uint8_t>(Answer::Nothing)) return std::optional<Memory>{};
        return std::optional{HF_TRY(get_memory(reader))};
    }();
    if (!told) fail(told.error());
    return *told;
}

}  // namespace

BrokerKeeper BrokerKeeper::start(std::vector<std::string> files) {
    if (files.empty()) return {UniqueFd{}, {}};
    auto both = socket_pair(SOCK_SEQPACKET);
    if (!both) fail(both.error());
    auto& [ours, its] = *both;
    const pid_t child = ::fork();
    if (child < 0) fail(os_error("fork"));
    if (child == 0) {
        ours.reset();
        // What ends the broker ends it: by the socket, after the last answer.
        for (const int one : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) ::signal(one, SIG_IGN);
        keep(its, files);
        ::_exit(0);
    }
    return {std::move(ours), std::move(files)};
}

Memories BrokerKeeper::memories_in(const std::string& file) const {
    if (file.empty()) return {};
    const auto at = static_cast<std::uint32_t>(std::ranges::find(files_, file) - files_.begin());
    return {.recall =
                [this, at](const std::string& signer) {
                    return ask_keeper(socket_,
                                      {.op = Op::Recall, .file = at, .signer = signer, .memory = {}});
                },
            .remember =
                [this, at](const std::string& signer, const Memory& memory) {
                    (void)ask_keeper(socket_,
                                     {.op = Op::Remember, .file = at, .signer = signer, .memory = memory});
                }};
}

}  // namespace holdfast::cli
