// SPDX-License-Identifier: Apache-2.0
#include "jailed.hpp"

#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "sys/log.hpp"
#include "sys/sandbox/jail.hpp"

namespace holdfast::sandbox {

std::ostream& operator<<(std::ostream& out, const Fate& fate) {
    return fate.signal != 0 ? out << "signal " << fate.signal : out << "status " << fate.status;
}

Fate jailed(const Filter& filter, const std::function<int()>& act, std::initializer_list<int> keep) {
    const pid_t child = ::fork();
    if (child == 0) {
        std::vector<int> open{0, 1, 2};
        open.insert(open.end(), keep);
        if (const auto entered = enter({.filter = filter, .keep = open}); !entered) {
            log::error("jail", entered.error());
            ::_exit(kNoJail);
        }
        ::_exit(act());
    }
    int status = 0;
    if (child < 0 || ::waitpid(child, &status, 0) < 0) return {.status = kNoJail};
    if (WIFSIGNALED(status)) return {.signal = WTERMSIG(status)};
    return {.status = WEXITSTATUS(status)};
}

}  // namespace holdfast::sandbox
