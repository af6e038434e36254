// SPDX-License-Identifier: Apache-2.0
// Calling in the clear, one call at a time: the agent its host, and the host an agent.
#pragma once

#include <chrono>

#include "guest_agent/call/endpoint.hpp"
#include "sys/fd.hpp"

namespace holdfast::agent::call {

/// What a refusal's code means, for people.
[[nodiscard]] const char* refusal_words(std::uint16_t code) noexcept;

/// One thread.
class Client {
public:
    explicit Client(UniqueFd stream) noexcept : stream_{std::move(stream)} {}
    /// The reply's body. A refusal is an Input error that says why (with ENOENT: there is nothing of this
    /// name), silence beyond `patience` an Os error (ETIMEDOUT); after any other error than a refusal this
    /// connection is of no use.
    Result<SecretBuffer> call(std::uint16_t service, std::uint16_t method, Bytes body,
                              std::chrono::milliseconds patience);

private:
    Result<Frame> read_frame(std::chrono::steady_clock::time_point until);
    UniqueFd stream_;
    FrameReader reader_;
    Endpoint endpoint_ = Endpoint::with_host();
    std::vector<std::byte> rest_;  ///< read and not used yet
};

}  // namespace holdfast::agent::call
