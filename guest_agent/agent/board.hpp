// SPDX-License-Identifier: Apache-2.0
// How members of a group reach each other: each puts its messages, numbered anew in each epoch, among the
// blobs that its host keeps (docs/agent.md), and takes those of the others from there. Hosts that serve one
// folder, or carry it between them, carry a group. They may do with it what they like: what is in a message
// is the group's affair.
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "guest_agent/call/client.hpp"

namespace holdfast::agent {

/// A host tells nobody of new blobs: so long between two looks.
inline constexpr std::chrono::milliseconds kBoardPause{250};

/// One thread.
class Board {
public:
    /// Names of blobs begin with `group`.
    static Result<Board> open(std::string group, std::string own_name);
    Result<void> post(std::uint64_t epoch, Bytes message);
    /// The next one of that member in that epoch; none: it has posted no more.
    Result<std::optional<std::vector<std::byte>>> take(const std::string& from, std::uint64_t epoch);
    /// The host need not keep our messages of earlier epochs any more. It may: all of them are sealed.
    Result<void> forget_before(std::uint64_t epoch);

    /// Beside the messages: one blob for each `what` of somebody, the newest in the place of the last.
    Result<void> put(std::string_view whose, std::string_view what, Bytes bytes);
    Result<std::optional<std::vector<std::byte>>> get(std::string_view whose, std::string_view what);
    Result<void> drop(std::string_view whose, std::string_view what);
    [[nodiscard]] const std::string& own_name() const noexcept { return own_name_; }

private:
    /// Where we are in a stream of messages.
    struct Place {
        std::uint64_t epoch = 0;
        std::uint64_t number = 0;
    };
    Board(std::string group, std::string own_name, call::Client host) noexcept
        : group_{std::move(group)}, own_name_{std::move(own_name)}, host_{std::move(host)} {}
    Place& place_in(const std::string& member, std::uint64_t epoch);
    std::string group_;
    std::string own_name_;
    call::Client host_;
    std::deque<Place> kept_;  ///< ours that the host keeps
    std::map<std::string, Place> next_;
};

}  // namespace holdfast::agent
