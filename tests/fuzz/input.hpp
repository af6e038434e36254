// SPDX-License-Identifier: Apache-2.0
// Takes a fuzzer's bytes apart; zeroes when they have run out.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace holdfast::fuzz {

class Input {
public:
    Input(const std::uint8_t* data, std::size_t size) : rest_{std::as_bytes(std::span{data, size})} {}
    [[nodiscard]] bool empty() const { return rest_.empty(); }
    template <typename T>
    T take() {
        T value{};
        const auto bytes = take_bytes(sizeof value);
        if (!bytes.empty()) std::memcpy(&value, bytes.data(), bytes.size());
        return value;
    }
    std::span<const std::byte> take_bytes(std::size_t most) {
        const auto taken = rest_.first(std::min(most, rest_.size()));
        rest_ = rest_.subspan(taken.size());
        return taken;
    }

private:
    std::span<const std::byte> rest_;
};

}  // namespace holdfast::fuzz
