// SPDX-License-Identifier: Apache-2.0
// The process beside a broker that keeps what policies remember (freshness.last_seen): the broker itself is
// in a jail and has no files. It knows those of the configuration, and does two things with them.
#pragma once

#include <string>
#include <vector>

#include "cli/verify.hpp"
#include "sys/fd.hpp"

namespace holdfast::cli {

/// One thread at a time. The process ends when this does.
class BrokerKeeper {
public:
    /// Called with a single thread. Without files there is no process. Throws HF-0110.
    static BrokerKeeper start(std::vector<std::string> files);
    /// Of one of the files; empty: none. They throw HF-0110 if the file cannot be used, and its process says
    /// why.
    [[nodiscard]] Memories memories_in(const std::string& file) const;

private:
    BrokerKeeper(UniqueFd socket, std::vector<std::string> files)
        : socket_{std::move(socket)}, files_{std::move(files)} {}
    UniqueFd socket_;
    std::vector<std::string> files_;
};

}  // namespace holdfast::cli
