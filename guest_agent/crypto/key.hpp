// SPDX-License-Identifier: Apache-2.0
// Keys of 256 bits inside a guest. Not SecretBytes: a member of a group holds dozens for a moment each, and
// three pages for each would be most of the agent's memory. The agent locks all of its memory instead, and a
// Key is wiped by whoever held it last.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "sys/secret.hpp"

namespace holdfast::agent {

using Bytes = std::span<const std::byte>;

inline constexpr std::size_t kKeyBytes = 32;

/// Moved from, it is zeros. Not copyable, not printable.
class Key {
public:
    Key() noexcept = default;
    Key(Key&& other) noexcept : bytes_{other.bytes_} { other.wipe(); }
    Key& operator=(Key&& other) noexcept {
        if (this != &other) {
            bytes_ = other.bytes_;
            other.wipe();
        }
        return *this;
    }
    ~Key() { wipe(); }
    void wipe() noexcept { holdfast::wipe(bytes_); }
    [[nodiscard]] Key copy() const noexcept {
        Key twin;
        twin.bytes_ = bytes_;
        return twin;
    }
    [[nodiscard]] std::span<std::byte, kKeyBytes> bytes() noexcept { return bytes_; }
    [[nodiscard]] std::span<const std::byte, kKeyBytes> bytes() const noexcept { return bytes_; }

private:
    std::array<std::byte, kKeyBytes> bytes_{};
};

/// Bytes of any length that are wiped; never grows, so that no copy stays behind.
class SecretBuffer {
public:
    SecretBuffer() noexcept = default;
    explicit SecretBuffer(std::size_t size) : bytes_(size) {}
    /// Takes the bytes over, and wipes them from now on.
    explicit SecretBuffer(std::vector<std::byte> bytes) noexcept : bytes_{std::move(bytes)} {}
    SecretBuffer(SecretBuffer&&) noexcept = default;
    SecretBuffer& operator=(SecretBuffer&& other) noexcept {
        bytes_.swap(other.bytes_);
        return *this;
    }
    ~SecretBuffer() { wipe(bytes_); }
    [[nodiscard]] std::span<std::byte> bytes() noexcept { return bytes_; }
    [[nodiscard]] Bytes bytes() const noexcept { return bytes_; }
    /// Forgets all behind the first `size` bytes.
    void cut(std::size_t size) noexcept {
        if (size >= bytes_.size()) return;
        wipe(std::span{bytes_}.subspan(size));
        bytes_.resize(size);
    }

private:
    std::vector<std::byte> bytes_;
};

/// From the kernel's generator by way of OpenSSL's; a failure ends the process: no key is ever weak instead.
void fill_random(std::span<std::byte> out) noexcept;
[[nodiscard]] Key random_key() noexcept;

}  // namespace holdfast::agent
