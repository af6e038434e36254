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
    {"blk", blk_job, "op=read|write|check|verify|flush size=4K count=1024 depth=1 random=0 span=0 seed=1"},
    {"console", console, ""},
    {"vconsole", vconsole, "mode=write|echo"},
    {"rng", rng, ""},
    {"net", net, "mode=arp|tx|echo count=1 size=60 ip=10.0.2.2 from=10.0.2.15"},
    {"vsock", vsock_job, "mode=connect|listen port=5000"},
    {"hostile", hostile, "variant=all except=A,B device=all size=1M"},
    {"spin", spin, "count=0|CYCLES"},
    {"secret", secret, "seed=1 rounds=0"},
    {"fault", fault, ""},
});

}  // namespace

std::span<const Job> all() { return kJobs; }

}  // namespace holdfast::builtin::jobs
