// SPDX-License-Identifier: Apache-2.0
// What the command line hands to holdfast-vtpm, and what it hears: messages on the handover socket.
#pragma once

#include <optional>
#include <string>

#include "sys/fd.hpp"
#include "sys/secret.hpp"
#include "vtpm/anchor/leaf.hpp"
#include "vtpm/start.hpp"
#include "vtpm/state/identity.hpp"

namespace holdfast::vtpm {

struct Launch {
    Identity identity;
    Start start = Start::Stored;
    anchor::Digest tenant{};  ///< Create: SHA-256 of the key that may re-anchor it; zero: none may
    bool strict = false;      ///< anchored, and every store survives a power cut (Strictness::Strict)
    UniqueFd state;           ///< stream socket to holdfast-store
    UniqueFd listener;        ///< exactly one of this and the next
    UniqueFd control;         ///< stream socket, connected
    UniqueFd data;            ///< optional, with `control`
    UniqueFd quotes;          ///< listening SEQPACKET socket (vtpm/quote.hpp); none: the host asks for none
    UniqueFd anchor;          ///< the way to the host's anchor (vtpm/state/anchored.hpp); none: not anchored
};

/// The key follows in a message of its own, so that it is in no buffer that is not wiped.
Result<void> send_launch(const UniqueFd& socket, const Launch& launch, const SecretBytes& state_key);
struct ReceivedLaunch {
    Launch launch;
    SecretBytes state_key;
};
Result<ReceivedLaunch> receive_launch(const UniqueFd& socket);

/// To the command line: ready (empty), or why not. holdfast-vtpm ends after the latter.
struct Report {
    bool ready = false;
    bool input = false;  ///< what failed was the state, not the host
    std::string detail;
};
Result<void> send_report(const UniqueFd& socket, const Report& report);
/// None: holdfast-vtpm is gone without a word.
Result<std::optional<Report>> receive_report(const UniqueFd& socket);

}  // namespace holdfast::vtpm
