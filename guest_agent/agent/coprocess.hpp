// SPDX-License-Identifier: Apache-2.0
// A program beside this one: what it says and hears by its standard output and input.
#pragma once

#include <string>
#include <vector>

#include "guest_agent/crypto/key.hpp"
#include "sys/process.hpp"

namespace holdfast::agent {

/// One thread. Its end kills the program, if that has not ended yet.
class Coprocess {
public:
    /// `words`: an absolute path and arguments. Standard error is ours.
    static Result<Coprocess> start(const std::vector<std::string>& words);
    /// Waits a moment for the program to say something (if it `may_say` something) or to hear what was
    /// queued, or for `wakes` to be readable. What the program has said.
    Result<std::string> turn(int wait_ms, bool may_say, const UniqueFd* wakes = nullptr);
    void queue(Bytes bytes);
    /// It hears what is queued, and then that nothing follows.
    void queue_end() { is_all_queued_ = true; }
    [[nodiscard]] std::size_t queued_bytes() const noexcept { return unheard_.size(); }
    [[nodiscard]] bool has_ended() const noexcept { return !said_; }
    /// For its end; it hears nothing more.
    Result<Ending> wait() {
        heard_.reset();
        return child_.wait();
    }

private:
    Coprocess(Child child, UniqueFd heard, UniqueFd said) noexcept
        : child_{std::move(child)}, heard_{std::move(heard)}, said_{std::move(said)} {}
    Result<void> hear_some();
    Result<std::string> say_some();
    Child child_;
    UniqueFd heard_;
    UniqueFd said_;  ///< none: it says nothing any more
    std::string unheard_;
    bool is_all_queued_ = false;
};

}  // namespace holdfast::agent
