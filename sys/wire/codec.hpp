// SPDX-License-Identifier: Apache-2.0
// Bounded writing and reading of the messages that our own processes exchange: little-endian
// integers, and byte strings with a 32-bit length in front.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sys/result.hpp"
#include "sys/wire/endian.hpp"

namespace holdfast {

class WireWriter {
public:
    template <std::unsigned_integral T>
    void put(T value) {
        const Le<T> ordered{value};
        append(std::as_bytes(std::span{&ordered, 1}));
    }
    void put_bytes(std::span<const std::byte> bytes) {
        put(static_cast<std::uint32_t>(bytes.size()));
        append(bytes);
    }
    void put_string(std::string_view text) { put_bytes(std::as_bytes(std::span{text})); }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }

private:
    void append(std::span<const std::byte> bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
    std::vector<std::byte> bytes_;
};

/// Reads from a span that it does not own. Every short or oversized field is a Peer error; nothing
/// is allocated beyond what the span holds.
class WireReader {
public:
    explicit WireReader(std::span<const std::byte> bytes) noexcept : rest_{bytes} {}

    template <std::unsigned_integral T>
    Result<T> get() {
        const auto raw = HF_TRY(take(sizeof(T)));
        Le<T> ordered;
        std::memcpy(&ordered, raw.data(), sizeof ordered);
        return ordered.get();
    }
    Result<std::span<const std::byte>> get_bytes() {
        const auto size = HF_TRY(get<std::uint32_t>());
        return take(size);
    }
    Result<std::string> get_string() {
        const auto raw = HF_TRY(get_bytes());
        std::string text(raw.size(), '\0');
        if (!raw.empty()) std::memcpy(text.data(), raw.data(), raw.size());
        return text;
    }
    /// A message has no trailing bytes.
    Result<void> expect_end() const {
        if (!rest_.empty()) return peer_fault("message has trailing bytes");
        return {};
    }

private:
    Result<std::span<const std::byte>> take(std::size_t size) {
        if (size > rest_.size()) return peer_fault("message ends too early");
        const auto taken = rest_.first(size);
        rest_ = rest_.subspan(size);
        return taken;
    }
    std::span<const std::byte> rest_;
};

}  // namespace holdfast
