// SPDX-License-Identifier: Apache-2.0
// A client of a VM's QMP socket (QEMU Machine Protocol Specification of QEMU 10.0): one command at a
// time, every wait with a deadline. Events that arrive meanwhile are skipped.
#pragma once

#include <chrono>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "sys/fd.hpp"

namespace holdfast::cli {

class QmpClient {
public:
    /// Connects and negotiates. Throws HF-0405 for this and all that follows.
    explicit QmpClient(const std::string& path, std::chrono::milliseconds limit = std::chrono::seconds{5});
    /// The value of "return".
    nlohmann::json execute(const std::string& command);
    /// The same with arguments, an object.
    nlohmann::json execute(const std::string& command, const nlohmann::json& arguments);

private:
    nlohmann::json next_message();

    std::string path_;
    std::chrono::milliseconds limit_;
    UniqueFd socket_;
    std::string buffer_;
};

}  // namespace holdfast::cli
