// SPDX-License-Identifier: Apache-2.0
// How somebody comes into a group, at its beginning or while it lives, by blobs beside its messages
// (board.hpp): whoever is first in the group says where it stands (GROUP.NAME.now); who wants to join leaves
// a key package made for that (GROUP.NAME.join); and finds welcome and commit (GROUP.DIGEST.welcome and
// .commit, by its package's digest). What the host changes, keeps, or hands out again is refused by who reads
// it (group/).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "guest_agent/agent/board.hpp"
#include "guest_agent/group/talk.hpp"

namespace holdfast::agent {

/// One thread. `board` outlives it. `names`: all that may be in the group, ours among them.
class Door {
public:
    Door(Board& board, std::vector<std::string> names) : board_{&board}, names_{std::move(names)} {}

    /// Inside, for who is first.
    Result<void> announce(const group::Standing& standing);
    /// Lets in who asks and may. Who is turned away is logged, and asks in vain until it asks anew.
    Result<void> look(group::Talk& talk);
    Result<void> invite(const group::Talk::Invitation& invitation);

    /// Outside. The newest that anybody has announced; none: there is no group.
    Result<std::optional<group::Standing>> standing();
    Result<void> ask(Bytes package);
    /// For whom that package is.
    Result<std::optional<group::CommitMessages>> invitation(Bytes package);
    /// What we put there for joining, and what was put there for us, is of no use any more.
    Result<void> clear(Bytes package);

private:
    Board* board_;
    std::vector<std::string> names_;
    std::map<std::string, std::vector<std::byte>> turned_away_;  ///< the last package of each name
};

}  // namespace holdfast::agent
