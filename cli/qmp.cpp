// SPDX-License-Identifier: Apache-2.0
#include "cli/qmp.hpp"

#include <array>
#include <cerrno>

#include <fmt/format.h>
#include <sys/socket.h>
#include <nlohmann/json.hpp>

#include "cli/error.hpp"
#include "cli/output.hpp"
#include "cli/poll_set.hpp"
#include "sys/socket.hpp"

namespace holdfast::cli {
namespace {

constexpr std::size_t kMaxReply = 1 << 20;

[[noreturn]] void no_answer(const std::string& path, std::string why) {
    throw Failure{Code::Control, fmt::format("the VM does not answer at {}", path), std::move(why),
                  "another QMP client may hold the socket; holdfast kill NAME needs no answer"};
}

}  // namespace

QmpClient::QmpClient(const std::string& path, std::chrono::milliseconds limit) : path_{path}, limit_{limit} {
    auto socket = connect_unix(path);
    if (!socket) no_answer(path_, reason_of(socket.error()));
    socket_ = std::move(*socket);
    if (!next_message().contains("QMP")) no_answer(path_, "its greeting is not QMP's");
    execute("qmp_capabilities");
}

nlohmann::json QmpClient::execute(const std::string& command) { return execute(command, nlohmann::json{}); }

nlohmann::json QmpClient::execute(const std::string& command, const nlohmann::json& arguments) {
    nlohmann::json request{{"execute", command}};
    if (!arguments.is_null()) request["arguments"] = arguments;
    const std::string text = request.dump() + '\n';
    if (const auto sent = write_all(socket_, std::as_bytes(std::span{text})); !sent) {
        no_answer(path_, reason_of(sent.error()));
    }
    while (true) {
        nlohmann::json message = next_message();
        if (message.contains("return")) return std::move(message["return"]);
        if (message.contains("error")) {
            const auto& error = message["error"];
            no_answer(path_, error.is_object() ? printable(error.value("desc", "it refused the command"))
                                               : "it refused the command");
        }
    }
}

nlohmann::json QmpClient::next_message() {
    const auto deadline = std::chrono::steady_clock::now() + limit_;
    while (true) {
        if (const auto end = buffer_.find('\n'); end != std::string::npos) {
            auto message = nlohmann::json::parse(buffer_.substr(0, end), nullptr, false);
            buffer_.erase(0, end + 1);
            if (!message.is_object()) no_answer(path_, "what it says is not a JSON object");
            return message;
        }
        if (buffer_.size() > kMaxReply) no_answer(path_, "its answer has no end");
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
        PollSet polls;
        const auto slot = polls.add(socket_.get(), POLLIN);
        if (left.count() > 0) polls.wait(left);
        if (!polls.ready(slot)) no_answer(path_, fmt::format("no answer within {} ms", limit_.count()));
        std::array<char, 4096> part;
        const ssize_t got = ::recv(socket_.get(), part.data(), part.size(), 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) no_answer(path_, "it closed the connection");
        buffer_.append(part.data(), static_cast<std::size_t>(got));
    }
}

}  // namespace holdfast::cli
