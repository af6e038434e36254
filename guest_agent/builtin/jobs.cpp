// SPDX-License-Identifier: Apache-2.0
// The table of jobs.
#include "guest_agent/builtin/jobs.hpp"

#include <array>

namespace holdfast::builtin::jobs {
namespace {

constexpr auto kJobs = std::to_array<Job>({
    {"hello", hello, ""},
    {"memwalk", memwalk,
     "size=64M|all pattern=sequential|random|zipf|pingpong stride=4096 bytes=64 passes=1 write=1 "
     "cpus=1 seed=1"},
    {"exitloop", exitloop, "kind=pio|mmio count=100000 port=0x80 addr=0"},
    {"spin", spin, "count=0|CYCLES"},
    {"secret", secret, ""},
    {"fault", fault, ""},
});

}  // namespace

std::span<const Job> all() { return kJobs; }

}  // namespace holdfast::builtin::jobs
