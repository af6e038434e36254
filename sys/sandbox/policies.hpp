// SPDX-License-Identifier: Apache-2.0
// The compiled policies, one a program and thread kind. A new one is a file in policy/x86_64, its
// name in meson.build and a line here.
#pragma once

#include "sys/sandbox/filter.hpp"

namespace holdfast::sandbox::policy {

extern const Filter vmm;       ///< holdfast-vmm: the whole process, so also what its vCPUs may do
extern const Filter vmm_vcpu;  ///< holdfast-vmm: on top of it in each vCPU thread
extern const Filter io;        ///< holdfast-io

}  // namespace holdfast::sandbox::policy
