// SPDX-License-Identifier: Apache-2.0
// Ending a VM from outside, through its supervisor: a pidfd that is known to be the VM's, so that
// no stranger who got its number is ever signalled.
#pragma once

#include <chrono>

#include "cli/state.hpp"
#include "sys/fd.hpp"

namespace holdfast::cli {

class SupervisorHandle {
public:
    /// Throws HF-0404 if the VM ended meanwhile.
    explicit SupervisorHandle(const std::string& state_dir, const FoundVm& vm);
    /// True if it has ended within `limit`.
    [[nodiscard]] bool wait(std::chrono::milliseconds limit) const;
    /// SIGTERM, and SIGKILL when that does not help (its children die with it). Throws HF-0406.
    void end_now() const;

private:
    std::string name_;
    UniqueFd pidfd_;
};

}  // namespace holdfast::cli
