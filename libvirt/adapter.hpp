// SPDX-License-Identifier: Apache-2.0
// The life of the process that libvirt takes for QEMU: a probe that answers questions, or a domain with its
// VM.
#pragma once

#include "libvirt/plan.hpp"
#include "sys/result.hpp"

namespace holdfast::libvirt {

/// Answers until it is told to leave. With -daemonize it returns in the parent at once.
[[nodiscard]] Result<int> run_probe(const Plan& plan);
/// Starts the VM and serves the domain's monitor and console until its end. The exit status.
[[nodiscard]] Result<int> run_domain(const Plan& plan);
/// For a command line that was refused: waits a moment for libvirt to come to its monitor, which then ends
/// only after this process. Only so it shows what stands in the domain's log.
void outlive_monitor(std::span<const char* const> words);

}  // namespace holdfast::libvirt
