// SPDX-License-Identifier: Apache-2.0
// A guest that sends any TPM commands: each behind its length (16 bits), the size in its head made right as
// the data channel holds it to be. Every one gets one whole response.
#include <array>
#include <cstring>

#include <sys/socket.h>

#include "sys/wire/endian.hpp"
#include "tests/fuzz/input.hpp"
#include "tests/fuzz/vtpm_world.hpp"
#include "vtpm/engine/command.hpp"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    auto& world = fuzz::VtpmWorld::the();
    auto [guest, service] = fuzz::must(socket_pair(SOCK_STREAM));
    const auto answer = [&] {
        std::array<std::byte, 65536> response;
        const ssize_t n = ::recv(guest.get(), response.data(), response.size(), 0);
        if (n < 4) std::abort();
        return std::vector<std::byte>{response.begin(), response.begin() + n};
    };
    fuzz::must(world.service->init(service));
    answer();
    fuzz::Input input{data, size};
    // A few each: an input shall find something, not take long.
    for (int i = 0; i < 16 && !input.empty(); ++i) {
        const auto taken = input.take_bytes(input.take<std::uint16_t>() % (vtpm::channel::kMaxTpmBuffer + 1));
        std::vector<std::byte> command{taken.begin(), taken.end()};
        if (command.size() >= vtpm::kHeadBytes) {
            const Be<std::uint32_t> length{static_cast<std::uint32_t>(command.size())};
            std::memcpy(command.data() + 2, &length, sizeof length);
        }
        fuzz::must(world.service->run_command(service, command));
        const auto response = answer();
        if (response.size() < vtpm::kHeadBytes || vtpm::head_of(response).size != response.size())
            std::abort();
    }
    return 0;
}
