// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/builtin/console.hpp"

#include <array>

namespace holdfast::builtin {
namespace {

// 16550 registers as offsets from COM1.
constexpr u16 kCom1 = 0x3f8;
constexpr u16 kData = kCom1;
constexpr u16 kFifoControl = kCom1 + 2;
constexpr u16 kLineStatus = kCom1 + 5;
constexpr u8 kFifoEnable = 0x01;
constexpr u8 kDataReady = 0x01;
constexpr u8 kTransmitterEmpty = 0x20;

// Reading the line status costs an exit, so it is done once for each FIFO of 16 bytes.
constexpr u32 kFifoSize = 16;
u32 sent;

}  // namespace

void put(char c) {
    // The very first byte goes out before anything else: launch time is measured by it.
    if (sent == 1) port_write<u8>(kFifoControl, kFifoEnable);
    if (sent >= kFifoSize && sent % kFifoSize == 0) {
        for (u32 tries = 0; tries < 100'000; ++tries) {  // a stuck line loses bytes, not the guest
            if ((port_read<u8>(kLineStatus) & kTransmitterEmpty) != 0) break;
        }
    }
    port_write<u8>(kData, static_cast<u8>(c));
    ++sent;
}

void print_one(std::string_view text) {
    for (const char c : text) put(c);
}

void print_one(u64 value) {
    std::array<char, 20> digits;
    std::size_t at = digits.size();
    do {
        digits[--at] = static_cast<char>('0' + value % 10);
        value /= 10;
    } while (value != 0);
    print_one(std::string_view{digits}.substr(at));
}

void print_one(Hex hex) {
    int digits = hex.digits;
    if (digits == 0) {
        print_one("0x");
        digits = 16;
        while (digits > 1 && (hex.value >> 4 * (digits - 1)) == 0) --digits;
    }
    while (digits-- > 0) put("0123456789abcdef"[hex.value >> 4 * digits & 0xf]);
}

int typed() {
    if ((port_read<u8>(kLineStatus) & kDataReady) == 0) return -1;
    return port_read<u8>(kData);
}

}  // namespace holdfast::builtin
