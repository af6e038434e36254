// SPDX-License-Identifier: Apache-2.0
// Repeatable pseudo-random numbers (splitmix64): the same seed gives the same accesses on every
// VMM.
#pragma once

#include "guest_agent/builtin/machine.hpp"

namespace holdfast::builtin {

constexpr u64 mix(u64 z) {
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

class Random {
public:
    explicit Random(u64 seed) : state_{seed} {}
    u64 next() { return mix(state_ += 0x9e3779b97f4a7c15); }
    /// In [0, bound).
    u64 below(u64 bound) {
        __extension__ using u128 = unsigned __int128;
        return static_cast<u64>(static_cast<u128>(next()) * bound >> 64);
    }

private:
    u64 state_;
};

}  // namespace holdfast::builtin
