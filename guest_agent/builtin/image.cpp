// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/builtin/image.hpp"

// SAFETY: defined by image.S around the file's bytes; only the addresses are used.
extern "C" const std::byte holdfast_builtin_image_start[];
extern "C" const std::byte holdfast_builtin_image_end[];

namespace holdfast::guest_agent {

std::span<const std::byte> builtin_image() noexcept {
    return {holdfast_builtin_image_start, holdfast_builtin_image_end};
}

}  // namespace holdfast::guest_agent
