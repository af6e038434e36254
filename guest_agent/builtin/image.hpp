// SPDX-License-Identifier: Apache-2.0
// The built-in guest as bytes, for programs that launch it.
#pragma once

#include <cstddef>
#include <span>

namespace holdfast::guest_agent {

/// An ELF image with a PVH note; its entry point is the flat 64-bit one. Lives as long as the
/// program.
[[nodiscard]] std::span<const std::byte> builtin_image() noexcept;

}  // namespace holdfast::guest_agent
