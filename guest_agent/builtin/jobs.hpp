// SPDX-License-Identifier: Apache-2.0
// One function a job. It prints its results as key=value lines and returns when it went well;
// otherwise it calls fail().
#pragma once

#include <span>
#include <string_view>

#include "guest_agent/builtin/machine.hpp"

namespace holdfast::builtin::jobs {

void hello();
void memwalk();
void exitloop();
void fault();
void spin();
void secret();
void blk_job();
void console();
void vconsole();
void rng();
void net();
void vsock_job();
void hostile();

struct Job {
    std::string_view name;
    void (*run)();
    std::string_view usage;
};
std::span<const Job> all();

}  // namespace holdfast::builtin::jobs
