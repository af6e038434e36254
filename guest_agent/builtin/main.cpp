// SPDX-License-Identifier: Apache-2.0
// The first ring-3 code: greets, finds the job its command line names, runs it, ends the machine.

#include "guest_agent/builtin/boot.hpp"
#include "guest_agent/builtin/console.hpp"
#include "guest_agent/builtin/jobs.hpp"

namespace holdfast::builtin {
namespace {

void usage() {
    print("jobs, as job=NAME [option=VALUE]... end=poweroff|reboot|panic|hang|halt:\n");
    for (const auto& job : jobs::all()) print("  ", job.name, " ", job.usage, "\n");
}

}  // namespace

extern "C" [[noreturn]] void guest_main(u64 start_info);
extern "C" [[noreturn]] void trap_report(u64 vector, u64 error, u64 rip, u64 cr2);

void guest_main(u64 start_info) {
    print("Holdfast built-in guest\n");
    boot::read_start_info(start_info);
    const auto name = boot::option("job");
    if (!name) {
        jobs::hello();
        usage();
        print("JOB: ok\n");
        end_machine();
    }
    for (const auto& job : jobs::all()) {
        if (job.name != *name) continue;
        job.run();
        print("JOB: ok\n");
        end_machine();
    }
    usage();
    fail("there is no job ", *name);
}

void trap_report(u64 vector, u64 error, u64 rip, u64 cr2) {
    fail("exception ", vector, " error ", Hex{error}, " rip ", Hex{rip}, " cr2 ", Hex{cr2});
}

}  // namespace holdfast::builtin
