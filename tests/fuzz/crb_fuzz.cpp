// SPDX-License-Identifier: Apache-2.0
// A guest at a TPM's registers and buffer, and a TPM that answers sometimes: three bytes an action. Checked
// is that a command starts once for each completion, and that a response only lands while one is waited for.
#include <array>
#include <cstdlib>

#include "tests/fuzz/input.hpp"
#include "vmm/tpm/crb.hpp"

using namespace holdfast;
using namespace holdfast::tpm;

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

class Queue final : public CommandQueue {
public:
    void command_started() noexcept override {
        require(!running);
        running = true;
    }
    void cancel_requested() noexcept override { require(running); }
    bool running = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::uint64_t kStart = 0x4c;
    fuzz::Input input{data, size};
    std::array<std::byte, kCrbBufferSize> buffer{};
    Queue queue;
    Crb crb{buffer, queue};
    const auto started = [&] {
        std::byte value{};
        crb.read(kStart, {&value, 1});
        return value == std::byte{1};
    };
    while (!input.empty()) {
        const auto action = input.take<std::uint8_t>();
        const std::uint64_t offset = input.take<std::uint8_t>();
        const auto value = input.take<std::uint8_t>();
        std::array<std::byte, 8> bytes{};
        const auto part = std::span{bytes}.first(std::size_t{1} << (action >> 4 & 3));
        switch (action & 7) {
            case 0: crb.read(offset, part); break;
            case 1: {
                const std::array<std::byte, kCrbBufferSize> response{std::byte{value}};
                buffer[0] = std::byte(value + 1);
                crb.complete(std::span{response}.first(1 + value));
                if (!queue.running) require(buffer[0] == std::byte(value + 1));
                queue.running = false;
                break;
            }
            case 2:
                if (value == 0xff) {
                    crb.fail({});
                    queue.running = false;
                }
                break;
            case 3: {
                std::array<std::byte, kCrbBufferSize> copy;
                crb.take_command(copy);
                break;
            }
            default:
                bytes.fill(std::byte{value});
                crb.write(offset, part);
                break;
        }
        require(started() == queue.running);
    }
    return 0;
}
