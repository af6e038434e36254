// SPDX-License-Identifier: Apache-2.0
// The QEMU machine protocol (docs/interop/qmp-spec.rst of QEMU 10.0): what is answered to one message,
// and how an event reads. Commands, their arguments and their results stand in one table that drives
// dispatch, checks and query-qmp-schema. Left out: out-of-band execution.
#pragma once

#include <string>
#include <string_view>

#include "vmm/control/event.hpp"
#include "vmm/control/machine.hpp"

namespace holdfast::control {

/// What is remembered about one client.
struct Session {
    bool negotiated =
        false;  ///< qmp_capabilities was answered; until then nothing else is, and no event is sent
};

// Each of these gives complete lines for the client, ended as QEMU ends them (CR LF).

[[nodiscard]] std::string greeting();
/// Carries out the command in `text`, or says why not. Any bytes are allowed.
[[nodiscard]] std::string answer(std::string_view text, Session& session, Machine& machine);
/// For bytes that are no JSON text. `why` follows "JSON ".
[[nodiscard]] std::string json_error(std::string_view why);
[[nodiscard]] std::string describe(const Event& event);

}  // namespace holdfast::control
