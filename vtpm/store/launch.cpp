// SPDX-License-Identifier: Apache-2.0
#include "vtpm/store/launch.hpp"

#include <array>

#include "sys/socket.hpp"
#include "sys/wire/codec.hpp"

namespace holdfast::vtpm::store {
namespace {

constexpr std::uint32_t kLaunch = 1;

}  // namespace

Result<void> send_launch(const UniqueFd& socket, const LaunchFds& fds) {
    WireWriter writer;
    writer.put(kLaunch);
    const std::array numbers{fds.client.get(), fds.state.get()};
    return send_message(socket, writer.bytes(), numbers);
}

Result<LaunchFds> receive_launch(const UniqueFd& socket) {
    Message message = HF_TRY(receive_message(socket, sizeof kLaunch));
    WireReader reader{message.bytes};
    if (HF_TRY(reader.get<std::uint32_t>()) != kLaunch) return peer_fault("unknown launch message");
    if (message.fds.size() != 2) return peer_fault("launch message lacks a descriptor");
    return LaunchFds{.client = std::move(message.fds[0]), .state = std::move(message.fds[1])};
}

}  // namespace holdfast::vtpm::store
