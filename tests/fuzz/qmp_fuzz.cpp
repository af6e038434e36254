// SPDX-License-Identifier: Apache-2.0
// What a QMP client may send, cut into pieces of the length that the first byte says. Every text gets
// exactly one line of JSON, which is a result or an error.
#include <algorithm>
#include <cstdlib>

#include <nlohmann/json.hpp>

#include "tests/unit/vmm/control/fake_machine.hpp"
#include "vmm/control/protocol.hpp"
#include "vmm/control/scanner.hpp"

using namespace holdfast::control;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1) return 0;
    const std::size_t piece = data[0] == 0 ? size : data[0];
    // SAFETY: bytes as characters.
    const std::string_view all{reinterpret_cast<const char*>(data + 1), size - 1};
    FakeMachine machine;
    Session session;
    Scanner scanner;
    for (std::size_t at = 0; at < all.size(); at += piece) {
        std::string_view input = all.substr(at, piece);
        while (const auto item = scanner.next(input)) {
            if (item->text.size() > kMaxText + 1) std::abort();
            if (item->kind != Scanner::Kind::Text) continue;
            const std::string reply = answer(item->text, session, machine);
            if (!reply.ends_with("\r\n") || std::ranges::count(reply, '\n') != 1) std::abort();
            const auto message = nlohmann::json::parse(reply, nullptr, false);
            if (!message.is_object() || message.contains("return") == message.contains("error")) std::abort();
        }
        if (!input.empty()) std::abort();
    }
    return 0;
}
