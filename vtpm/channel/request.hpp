// SPDX-License-Identifier: Apache-2.0
// Takes the next request off the bytes that a client of the control channel has sent.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "sys/result.hpp"
#include "vtpm/channel/spec.hpp"

namespace holdfast::vtpm::channel {

struct Request {
    Command command{};                ///< may have any value: unknown ones are the caller's to refuse
    std::span<const std::byte> body;  ///< as long as the command's struct says, and what follows it
    std::size_t size = 0;             ///< of the request in the bytes
};

/// None: the request is not complete yet. A length beyond the limits is a Peer error. `bytes` is all
/// that has arrived; clients wait for each answer, so there is nothing of a next request in it.
Result<std::optional<Request>> parse(std::span<const std::byte> bytes);

}  // namespace holdfast::vtpm::channel
