// SPDX-License-Identifier: Apache-2.0
// holdfast-store's side of one vTPM: answers its requests in order until it hangs up.
#pragma once

#include <optional>

#include "sys/fd.hpp"
#include "vtpm/store/slots.hpp"

namespace holdfast::vtpm::store {

class Session {
public:
    /// `client` is a blocking stream socket.
    Session(UniqueFd client, UniqueFd state) noexcept : client_{std::move(client)}, disk_{std::move(state)} {}

    /// Ends cleanly when the client does. An error is fatal: a sync that failed must not be tried again,
    /// for the kernel has forgotten what it did not write.
    Result<void> run();

private:
    Result<void> answer(const Head& request, std::span<const std::byte> blob);
    Result<void> open();
    Result<void> go_back();
    Result<void> write(std::uint64_t version, std::span<const std::byte> blob);
    Result<void> reply(Status status, std::uint64_t version = 0, std::span<const std::byte> blob = {});
    Result<bool> lock(int type);

    UniqueFd client_;
    FileDisk disk_;
    std::optional<Slots> slots_;  // while we hold the lock
};

}  // namespace holdfast::vtpm::store
