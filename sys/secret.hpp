// SPDX-License-Identifier: Apache-2.0
// Bytes that must not outlive their use.
#pragma once

#include <cstddef>
#include <span>

#include "sys/mapping.hpp"

namespace holdfast {

/// Overwrites memory in a way the compiler may not leave out.
void wipe(std::span<std::byte> bytes) noexcept;
/// Compares in a time that depends on the lengths only.
[[nodiscard]] bool equal_constant_time(std::span<const std::byte> a, std::span<const std::byte> b) noexcept;

/// A secret in pages of its own: locked, out of core dumps and children, wiped on destruction. Not
/// copyable, not printable.
class SecretBytes {
public:
    static Result<SecretBytes> create(std::size_t size);
    SecretBytes(SecretBytes&&) noexcept = default;
    SecretBytes& operator=(SecretBytes&&) noexcept = default;
    ~SecretBytes() { wipe(pages_.bytes()); }
    [[nodiscard]] std::span<std::byte> bytes() noexcept { return pages_.bytes().first(size_); }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return pages_.bytes().first(size_); }

private:
    SecretBytes(Mapping pages, std::size_t size) : pages_{std::move(pages)}, size_{size} {}
    Mapping pages_;
    std::size_t size_ = 0;
};

}  // namespace holdfast
