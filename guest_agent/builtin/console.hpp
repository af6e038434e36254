// SPDX-License-Identifier: Apache-2.0
// Text on COM1 (a 16550), by port I/O from ring 3, and the two ways a job ends.
#pragma once

#include <string_view>
#include <type_traits>

#include "guest_agent/builtin/machine.hpp"

namespace holdfast::builtin {

/// 0x…, or that many digits and nothing else.
struct Hex {
    u64 value;
    int digits = 0;
};

void put(char c);
void print_one(std::string_view text);
void print_one(u64 value);
void print_one(Hex value);
/// The next byte typed, or -1.
int typed();

template <typename... Parts>
void print(const Parts&... parts) {
    const auto one = [](const auto& part) {
        if constexpr (std::is_integral_v<std::remove_cvref_t<decltype(part)>>) {
            print_one(static_cast<u64>(part));
        } else {
            print_one(part);
        }
    };
    (one(parts), ...);
}

/// Ends the machine as `end=` asks. Defined in power.cpp.
[[noreturn]] void end_machine();

/// The job's last line, then the end of the machine. Any processor may call it.
template <typename... Parts>
[[noreturn]] void fail(const Parts&... why) {
    print("JOB: failed ", why..., "\n");
    end_machine();
}

}  // namespace holdfast::builtin
