// SPDX-License-Identifier: Apache-2.0
// How members of a group reach each other: each puts its messages, numbered, among the blobs that its host
// keeps (docs/agent.md), and takes those of the others from there. Hosts that serve one folder, or carry it
// between them, carry a group. They may do with it what they like: what is in a message is the group's
// affair.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "guest_agent/call/client.hpp"

namespace holdfast::agent {

/// One thread.
class Board {
public:
    /// Names of blobs begin with `group`.
    static Result<Board> open(std::string group, std::string own_name);
    Result<void> post(Bytes message);
    /// The next one of that member; none: it has posted no more.
    Result<std::optional<std::vector<std::byte>>> take(const std::string& from);
    /// Waits for it. An Os error (ETIMEDOUT) if it does not come.
    Result<std::vector<std::byte>> await(const std::string& from, std::chrono::seconds patience);
    [[nodiscard]] std::uint64_t posted() const noexcept { return posted_; }
    /// The host need not keep those of ours before this number any more. It may: all of them are sealed.
    Result<void> forget_before(std::uint64_t number);
    /// Its next one is for somebody else.
    void skip(const std::string& from) { ++taken_[from]; }

private:
    Board(std::string group, std::string own_name, call::Client host) noexcept
        : group_{std::move(group)}, own_name_{std::move(own_name)}, host_{std::move(host)} {}
    [[nodiscard]] std::string blob_name(const std::string& member, std::uint64_t number) const;
    std::string group_;
    std::string own_name_;
    call::Client host_;
    std::uint64_t posted_ = 0;
    std::uint64_t forgotten_ = 0;
    std::map<std::string, std::uint64_t> taken_;
};

}  // namespace holdfast::agent
