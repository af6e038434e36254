// SPDX-License-Identifier: Apache-2.0
// A guest at the serial port's registers and a user who types: two bytes an action. Checked are the three
// promises a stalled console would break: no interrupt cause without an edge, no room without a word,
// and an empty transmitter whenever the sink takes bytes.
#include <array>
#include <cstdlib>
#include <string_view>

#include "vmm/legacy/serial.hpp"

using namespace holdfast;
using namespace holdfast::legacy;

namespace {

enum : std::uint64_t { RBR = 0, IIR = 2, LCR = 3, MCR = 4, LSR = 5 };

class Sink final : public ConsoleSink {
public:
    bool ready() const noexcept override { return open; }
    std::size_t write(std::span<const std::byte> bytes) noexcept override { return open ? bytes.size() : 0; }
    void input_room() noexcept override { told = true; }
    bool open = true;
    bool told = false;
};

void require(bool holds) {
    if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static irq::Line line{EventFd::create().value()};
    (void)line.event().drain();
    Sink sink;
    Serial serial{line, sink};
    bool edge = false;   // since the guest last saw "no interrupt"
    bool waits = false;  // the user has more than was taken
    const auto in = [&](std::uint64_t at) {
        std::byte value{};
        serial.read(at, {&value, 1});
        return std::to_integer<std::uint8_t>(value);
    };
    const auto type = [&](std::size_t count) {
        const std::array<std::byte, 32> bytes{};
        sink.told = false;
        waits = serial.receive(std::span{bytes}.first(count)) < count;
    };
    for (std::size_t i = 0; i + 1 < size; i += 2) {
        const std::uint8_t action = data[i];
        const std::uint8_t value = data[i + 1];
        const std::uint64_t offset = action & 7;
        const std::size_t width = std::size_t{1} << (value & 3);
        switch (action >> 5) {
            case 0:
            case 1: {
                const std::byte byte{value};
                serial.write(offset, {&byte, 1});
                break;
            }
            case 2:
            case 3: {
                const std::uint8_t got = in(offset);
                if (offset == LSR && sink.open) require((got & 0x60) == 0x60);
                if (offset != IIR) break;
                edge = line.event().drain() || edge;
                require((got & 1) != 0 || edge);
                if ((got & 1) != 0) edge = false;
                break;
            }
            case 4: type(value & 31); break;
            case 5:
                sink.open = (value & 1) != 0;
                if (sink.open) serial.output_ready();
                break;
            case 6: {
                std::array<std::byte, 8> bytes{};
                if (offset + width <= kSerialPorts) serial.read(offset, std::span{bytes}.first(width));
                break;
            }
            default: {
                std::array<std::byte, 8> bytes{};
                bytes.fill(std::byte{value});
                if (offset + width <= kSerialPorts) serial.write(offset, std::span{bytes}.first(width));
                break;
            }
        }
    }
    // A driver that takes the port over and empties it: whoever was left waiting has heard of it.
    const std::byte zero{0};
    serial.write(LCR, {&zero, 1});
    serial.write(MCR, {&zero, 1});
    for (int i = 0; i < 16; ++i) (void)in(RBR);
    require((in(LSR) & 1) == 0);
    require(!waits || sink.told);
    return 0;
}
