// SPDX-License-Identifier: Apache-2.0
// What the adapter answers to libvirt: questions about capabilities from advertised.hpp, questions about the
// domain from its plan, and what is for the VM from the VM. One table of commands drives dispatch and
// query-qmp-schema.
#pragma once

#include <string>
#include <string_view>

#include "libvirt/plan.hpp"
#include "libvirt/vm.hpp"
#include "vmm/control/protocol.hpp"

namespace holdfast::libvirt {

/// What commands are about. Changed by the main loop.
struct Domain {
    const Plan& plan;
    Vm* vm = nullptr;          ///< none: a probe, or the VM has ended
    std::string console_name;  ///< query-chardev's filename
    bool quit = false;         ///< asked for by a client
};

[[nodiscard]] std::string greeting();
/// Any bytes are allowed in `text`. The answer is complete lines.
[[nodiscard]] std::string answer(std::string_view text, control::Session& session, Domain& domain);

}  // namespace holdfast::libvirt
