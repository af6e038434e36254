// SPDX-License-Identifier: Apache-2.0
// A program beside this one that says and hears lines.
#pragma once

#include <string>
#include <vector>

#include "sys/process.hpp"

namespace holdfast::agent {

inline constexpr std::size_t kMaxLine = 60U
                                        << 10;  ///< bytes: with a name in front a pipe and a message hold it

/// One thread. Its end kills the program, if that has not ended yet.
class Coprocess {
public:
    /// `words`: an absolute path and arguments. Standard error is ours.
    static Result<Coprocess> start(const std::vector<std::string>& words);
    /// Waits a moment for the program to say something, or to hear what was queued. The lines that it has
    /// said to their ends, without them.
    Result<std::vector<std::string>> turn(int wait_ms);
    void queue(std::string_view line) { unheard_.append(line).push_back('\n'); }
    [[nodiscard]] bool hears() const noexcept { return unheard_.empty(); }
    [[nodiscard]] bool has_ended() const noexcept { return !said_; }
    Result<Ending> wait() { return child_.wait(); }

private:
    Coprocess(Child child, UniqueFd heard, UniqueFd said) noexcept
        : child_{std::move(child)}, heard_{std::move(heard)}, said_{std::move(said)} {}
    Result<void> hear_some();
    Result<void> say_some();
    Child child_;
    UniqueFd heard_;
    UniqueFd said_;  ///< none: it says nothing any more
    std::string unheard_;
    std::string line_;  ///< that is not at its end
};

}  // namespace holdfast::agent
