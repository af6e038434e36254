// SPDX-License-Identifier: Apache-2.0
// holdfast-qemu: what <emulator> of a libvirt domain names. It takes QEMU's command line and speaks QEMU's
// protocol, says so little of both that libvirt asks for nothing that Holdfast does not have, and is no QEMU.
#include <cstdio>
#include <string>
#include <string_view>

#include <unistd.h>

#include "libvirt/adapter.hpp"
#include "libvirt/plan.hpp"
#include "sys/log.hpp"

namespace {

using namespace holdfast;

int refuse(const std::string& what, const std::string& fix) {
    std::fprintf(stderr, "holdfast-qemu: HF-0801: %s\n  fix: %s\n", what.c_str(), fix.c_str());
    return 1;
}

}  // namespace

int main(int argc, char** argv) {
    log::configure("holdfast-qemu", log::Level::Warn);
    const std::span<const char* const> words{argv + 1, static_cast<std::size_t>(argc > 0 ? argc - 1 : 0)};
    if (words.size() == 1 && std::string_view{words[0]} == "-version") {
        std::puts("QEMU emulator version 10.0.0 (Holdfast " HF_VERSION
                  ", which takes its place for libvirt)");
        return 0;
    }
    std::size_t variables = 0;
    while (environ[variables] != nullptr) ++variables;
    const auto plan = libvirt::make_plan(words, {environ, variables});
    if (!plan) {
        const int status = refuse(plan.error().what, plan.error().fix);
        libvirt::outlive_monitor(words);
        return status;
    }
    const auto status = plan->probe ? libvirt::run_probe(*plan) : libvirt::run_domain(*plan);
    if (status) return *status;
    const std::string_view name = errno_name(status.error().os_errno);
    return refuse(std::string{status.error().what} + (name.empty() ? "" : ": ") + std::string{name},
                  "look at the domain's log for what came before");
}
