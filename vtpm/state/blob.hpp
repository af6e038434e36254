// SPDX-License-Identifier: Apache-2.0
// TPM state in plain, which only the vTPM's own process ever has.
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "sys/secret.hpp"

namespace holdfast::vtpm {

/// Bytes of TPM state: wiped when they go. Not SecretBytes, because libtpms has them in its heap anyway.
class StateBlob {
public:
    StateBlob() = default;
    explicit StateBlob(std::span<const std::byte> bytes) : bytes_{bytes.begin(), bytes.end()} {}
    explicit StateBlob(std::vector<std::byte> bytes) noexcept : bytes_{std::move(bytes)} {}
    StateBlob(StateBlob&& other) noexcept = default;
    StateBlob& operator=(StateBlob&& other) noexcept {
        bytes_.swap(other.bytes_);
        return *this;
    }
    ~StateBlob() { wipe(bytes_); }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
    [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }

private:
    std::vector<std::byte> bytes_;
};

}  // namespace holdfast::vtpm
