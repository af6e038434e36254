// SPDX-License-Identifier: Apache-2.0
// Bytes that must not outlive their use.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

#include "sys/mapping.hpp"

namespace holdfast {

/// Overwrites memory in a way the compiler may not leave out.
void wipe(std::span<std::byte> bytes) noexcept;
/// Overwrites what the call before this one left behind on the stack, up to a bound (1 KiB).
void wipe_stack() noexcept;
/// Compares in a time that depends on the lengths only.
[[nodiscard]] bool equal_constant_time(std::span<const std::byte> a, std::span<const std::byte> b) noexcept;

/// A secret in pages of its own, between two that cannot be touched: locked, out of core dumps and
/// children, wiped on destruction; where the kernel has memfd_secret(2), out of the kernel's own
/// mappings and of /proc/PID/mem too. Zeros at first, aligned to a page. Not copyable, not printable.
class SecretBytes {
public:
    static Result<SecretBytes> create(std::size_t size);
    SecretBytes(SecretBytes&& other) noexcept
        : pages_{std::move(other.pages_)}, bytes_{std::exchange(other.bytes_, {})} {}
    SecretBytes& operator=(SecretBytes&& other) noexcept {
        std::swap(pages_, other.pages_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~SecretBytes() { wipe(bytes_); }
    [[nodiscard]] std::span<std::byte> bytes() noexcept { return bytes_; }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }

private:
    SecretBytes(Mapping pages, std::span<std::byte> bytes) noexcept
        : pages_{std::move(pages)}, bytes_{bytes} {}
    Mapping pages_;
    std::span<std::byte> bytes_;
};

/// A struct in SecretBytes.
template <typename T>
    requires std::is_trivially_copyable_v<T> && std::is_default_constructible_v<T>
class Secret {
public:
    static Result<Secret> create() {
        SecretBytes bytes = HF_TRY(SecretBytes::create(sizeof(T)));
        static_assert(alignof(T) <= 4096, "SecretBytes begin on a page");
        T* const value = ::new (bytes.bytes().data()) T{};
        return Secret{std::move(bytes), value};
    }
    [[nodiscard]] T& operator*() noexcept { return *value_; }
    [[nodiscard]] const T& operator*() const noexcept { return *value_; }
    [[nodiscard]] T* operator->() noexcept { return value_; }
    [[nodiscard]] const T* operator->() const noexcept { return value_; }

private:
    Secret(SecretBytes bytes, T* value) noexcept : bytes_{std::move(bytes)}, value_{value} {}
    SecretBytes bytes_;
    T* value_;
};

}  // namespace holdfast
