// SPDX-License-Identifier: Apache-2.0
// Child processes, owned by pidfd (no pid reuse races), each with one socket to its parent.
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

#include "sys/fd.hpp"

namespace holdfast {

/// How a child ended: an exit status, or the signal that ended it.
struct Ending {
    bool signalled = false;
    int value = 0;
};

/// A child of ours. Destroying it before it was waited for kills and reaps it.
class Child {
public:
    struct Stdio {
        int in = -1;     ///< -1: /dev/null
        int out = -1;    ///< -1: /dev/null
        int err = -1;    ///< -1: the parent's
        int extra = -1;  ///< becomes descriptor 4; -1: none
    };
    /// Starts `program` (an absolute path) with `arguments` (argv[1]...). The child gets `handover`
    /// as descriptor 3, the three of `stdio`, and nothing else; an empty environment; and SIGKILL
    /// when the thread that started it is gone.
    static Result<Child> start(const std::string& program, const std::vector<std::string>& arguments,
                               const UniqueFd& handover, const Stdio& stdio);

    Child() noexcept = default;
    Child(Child&& other) noexcept : pid_{std::exchange(other.pid_, -1)}, pidfd_{std::move(other.pidfd_)} {}
    Child& operator=(Child&& other) noexcept {
        std::swap(pid_, other.pid_);
        std::swap(pidfd_, other.pidfd_);
        return *this;
    }
    ~Child();

    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    /// Readable once the child has ended.
    [[nodiscard]] const UniqueFd& pidfd() const noexcept { return pidfd_; }
    void kill(int signal) const noexcept;
    /// Blocks until the child has ended and reaps it.
    Result<Ending> wait();

private:
    Child(pid_t pid, UniqueFd pidfd) noexcept : pid_{pid}, pidfd_{std::move(pidfd)} {}
    pid_t pid_ = -1;
    UniqueFd pidfd_;
};

/// The descriptor number on which every program of ours finds the socket to whoever started it.
inline constexpr int kHandoverFd = 3;

}  // namespace holdfast
