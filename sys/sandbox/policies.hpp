// SPDX-License-Identifier: Apache-2.0
// The compiled policies, one a program and thread kind. A new one is a file in policy/x86_64, its
// name in meson.build and a line here.
#pragma once

#include "sys/sandbox/filter.hpp"

namespace holdfast::sandbox::policy {

/// holdfast-vmm enters the jail with `vmm`, before it reads the kernel it shall load; tightens all its
/// threads to `vmm_run` once the machine is built, before the guest's first instruction; each vCPU
/// thread then adds `vmm_vcpu` (not earlier: AllThreads fails where one has a filter of its own).
extern const Filter vmm;
extern const Filter vmm_run;
extern const Filter vmm_vcpu;
extern const Filter io;      ///< holdfast-io, once its ring and its sockets are set up
extern const Filter vtpm;    ///< holdfast-vtpm, before it has seen its state
extern const Filter store;   ///< holdfast-store, before it has read its file
extern const Filter anchor;  ///< holdfast-anchor, before it says a word to the TPM
extern const Filter broker;  ///< holdfast broker, before a guest has connected

}  // namespace holdfast::sandbox::policy
