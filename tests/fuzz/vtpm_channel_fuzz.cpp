// SPDX-License-Identifier: Apache-2.0
// A client of the control channel that sends anything: pieces whose length the byte in front says. Whatever
// it is, the server answers in whole structs or hangs up, and goes on with the next client.
#include <array>

#include <poll.h>
#include <sys/socket.h>

#include "tests/fuzz/input.hpp"
#include "tests/fuzz/vtpm_world.hpp"
#include "vtpm/channel/server.hpp"

using namespace holdfast;

namespace {

bool is_whole(std::span<const std::byte> piece) {
    const auto request = vtpm::channel::parse(piece);
    return request && *request && (*request)->size == piece.size();
}

/// One answer of at least a result; false when the server has hung up.
bool read_answer(const UniqueFd& client) {
    std::array<std::byte, 65536> room;
    std::size_t got = 0;
    while (got < 4) {
        const ssize_t n = ::recv(client.get(), room.data() + got, room.size() - got, 0);
        if (n <= 0) return false;
        got += static_cast<std::size_t>(n);
    }
    return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    auto& world = fuzz::VtpmWorld::the();
    auto [client, control] = fuzz::must(socket_pair(SOCK_STREAM));
    auto [ours, handover] = fuzz::must(socket_pair(SOCK_SEQPACKET));
    const auto server = fuzz::must(vtpm::channel::Server::create(
        {.listener = {}, .control = std::move(control), .data = {}}, *world.service, handover));
    std::thread thread{[&] {
        if (!server->run()) std::abort();
    }};
    fuzz::Input input{data, size};
    while (!input.empty()) {
        const auto piece = input.take_bytes(input.take<std::uint8_t>());
        if (::send(client.get(), piece.data(), piece.size(), MSG_NOSIGNAL) < 0) break;
        if (is_whole(piece) && !read_answer(client)) break;
    }
    client.reset();
    thread.join();
    return 0;
}
