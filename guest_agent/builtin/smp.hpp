// SPDX-License-Identifier: Apache-2.0
// More than one processor: started by INIT and start-up IPI through the local APIC (Intel SDM 3A
// §11.4.4), they wait in ring 3 for work.
#pragma once

#include "guest_agent/builtin/machine.hpp"

namespace holdfast::builtin::smp {

inline constexpr u64 kMaxProcessors = 16;

/// Brings processors up until `count` run; fails the job if the machine has fewer.
void start(u64 count);
/// Calls work(0) here and work(1) to work(count - 1) on the others; returns when all are done.
void run(u64 count, void (*work)(u64));
/// Starts work(index) on another processor without waiting, and waits for it.
void begin(u64 index, void (*work)(u64));
void wait(u64 index);

}  // namespace holdfast::builtin::smp
