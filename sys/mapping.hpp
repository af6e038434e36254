// SPDX-License-Identifier: Apache-2.0
// Owning memory mappings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "sys/fd.hpp"
#include "sys/result.hpp"

namespace holdfast {

/// Sole owner of one mmap()ed range; unmapped on destruction. Kept out of core dumps and of children.
class Mapping {
public:
    /// Shared, readable and writable, of `size` bytes of `fd`, from a page's start on.
    static Result<Mapping> shared(const UniqueFd& fd, std::size_t size, std::uint64_t offset = 0);
    /// Private, zeroed memory.
    static Result<Mapping> anonymous(std::size_t size);
    /// The same, from a multiple of kHugePage on and in huge pages where the kernel has them: for memory that
    /// is used through other page tables too, each of whose faults is dear. `size` is whole pages.
    static Result<Mapping> huge(std::size_t size);
    static constexpr std::size_t kHugePage = 2 << 20;
    /// Addresses only: any access faults, until something else is mapped over a part of them.
    static Result<Mapping> reserve(std::size_t size);

    Mapping() noexcept = default;
    Mapping(Mapping&& other) noexcept : bytes_{std::exchange(other.bytes_, {})} {}
    Mapping& operator=(Mapping&& other) noexcept {
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~Mapping();

    [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }
    [[nodiscard]] std::byte* data() const noexcept { return bytes_.data(); }
    [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }

private:
    static Result<Mapping> map(int fd, std::size_t size, int protection, int flags, std::uint64_t offset = 0);
    explicit Mapping(std::span<std::byte> bytes) noexcept : bytes_{bytes} {}
    std::span<std::byte> bytes_;
};

}  // namespace holdfast
