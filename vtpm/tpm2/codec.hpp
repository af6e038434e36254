// SPDX-License-Identifier: Apache-2.0
// Big-endian marshalling as in the TPM 2.0 Library, Part 1 §12.2: bounded reading of what a TPM (or somebody
// in its name) sent, and writing of what we send.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "sys/result.hpp"
#include "sys/wire/endian.hpp"

namespace holdfast::tpm2 {

class Writer {
public:
    template <std::unsigned_integral T>
    void put(T value) {
        const Be<T> ordered{value};
        put_raw(std::as_bytes(std::span{&ordered, 1}));
    }
    void put_raw(std::span<const std::byte> bytes) {
        bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    }
    /// Sets the 32-bit number at `offset`, which was put before.
    void patch(std::size_t offset, std::uint32_t value) {
        const Be<std::uint32_t> ordered{value};
        check(offset + sizeof ordered <= bytes_.size(), "patch outside of the message");
        std::memcpy(bytes_.data() + offset, &ordered, sizeof ordered);
    }
    [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
    [[nodiscard]] std::vector<std::byte> take() noexcept { return std::move(bytes_); }

private:
    std::vector<std::byte> bytes_;
};

/// Reads from a span that it does not own; a field that is not there whole is a Peer error.
class Reader {
public:
    explicit Reader(std::span<const std::byte> bytes) noexcept : rest_{bytes} {}
    template <std::unsigned_integral T>
    Result<T> get() {
        const auto raw = HF_TRY(get_raw(sizeof(T)));
        Be<T> ordered;
        std::memcpy(&ordered, raw.data(), sizeof ordered);
        return ordered.get();
    }
    Result<std::span<const std::byte>> get_raw(std::size_t size) {
        if (size > rest_.size()) return peer_fault("TPM message ends too early");
        const auto taken = rest_.first(size);
        rest_ = rest_.subspan(size);
        return taken;
    }
    /// TPM2B: 16 bits of length, then so many bytes.
    Result<std::span<const std::byte>> get_sized() { return get_raw(HF_TRY(get<std::uint16_t>())); }
    [[nodiscard]] std::span<const std::byte> rest() const noexcept { return rest_; }
    Result<void> expect_end() const {
        if (!rest_.empty()) return peer_fault("TPM message has trailing bytes");
        return {};
    }

private:
    std::span<const std::byte> rest_;
};

}  // namespace holdfast::tpm2
