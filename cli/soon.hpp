// SPDX-License-Identifier: Apache-2.0
// What a process that was killed held (a lock, a socket) is given back a moment later, and what it did may be
// wanted again at once.
#pragma once

#include <chrono>
#include <thread>

namespace holdfast::cli {

/// Tries until there is a result that counts (`attempt()` converts to true), for so long at most. Returns the
/// last result. Leaves errno as the last attempt left it.
template <typename Try>
auto soon(Try attempt, std::chrono::milliseconds limit = std::chrono::seconds{1}) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    for (;;) {
        auto result = attempt();
        if (result || std::chrono::steady_clock::now() > deadline) return result;
        std::this_thread::sleep_for(std::chrono::milliseconds{5});
    }
}

}  // namespace holdfast::cli
