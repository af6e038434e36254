// SPDX-License-Identifier: Apache-2.0
// holdfast-agent: what runs in a guest. As process 1 of an initramfs that `holdfast image` has made, or as a
// service.
#include <array>
#include <csignal>
#include <cstdio>
#include <span>
#include <string_view>

#include <sys/mman.h>
#include <unistd.h>

#include "guest_agent/agent/blob_verb.hpp"
#include "guest_agent/agent/boot.hpp"
#include "guest_agent/agent/channel_verb.hpp"
#include "guest_agent/agent/disk.hpp"
#include "guest_agent/agent/group_verb.hpp"
#include "guest_agent/agent/keystore_verb.hpp"
#include "guest_agent/agent/secret.hpp"
#include "guest_agent/agent/service.hpp"
#include "sys/log.hpp"

namespace holdfast::agent {
namespace {

constexpr int kUsage = 2;

struct Verb {
    std::string_view name;
    Result<void> (*run)(std::span<char*> words);
};
constexpr std::array kVerbs{Verb{"blob", blob_verb}, Verb{"keystore", keystore_verb},
                            Verb{"secret", secret_verb}, Verb{"group", group_verb},
                            Verb{"channel", channel_verb}};

Result<void> serve(Place place) {
    // Keys are wiped after use; until then they are not swapped (guest_agent/crypto/key.hpp). What was never
    // touched needs no memory.
    if (::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
        log::warn("memory_not_locked", os_error("mlockall"));
    Config config = HF_TRY(read_config());
    if (place == Place::FirstProcess) {
        if (!config.disk.empty()) HF_TRY(open_disk(config));
        if (!config.verity.device.empty()) HF_TRY(open_verity(config));
        if (!config.disk_root.empty()) return become_init(config.disk_root);
    }
    const auto service = HF_TRY(Service::create(std::move(config), place));
    return service->run();
}

Result<void> boot_and_serve() {
    HF_TRY(mount_basics());
    load_modules();
    HF_TRY(open_console());
    return serve(Place::FirstProcess);
}

[[noreturn]] void first_process() {
    if (const auto done = boot_and_serve(); !done) log::error("agent_failed", done.error());
    power_off();
    // Process 1 must not end: the kernel would panic.
    for (;;) ::pause();
}

int fail(const Error& error) {
    log::error("failed", error);
    return 1;
}

int run(std::span<char*> words) {
    log::configure("holdfast-agent", log::Level::Info);
    std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes to sockets as to files
    if (::getpid() == 1) first_process();
    const std::string_view verb = words.size() > 1 ? words[1] : "";
    if (verb == "--version") {
        std::puts("holdfast-agent " HF_VERSION);
        return 0;
    }
    if (verb == "serve" && words.size() == 2) {
        const auto done = serve(Place::Service);
        return done ? 0 : fail(done.error());
    }
    for (const auto& [name, run_verb] : kVerbs) {
        if (verb != name) continue;
        const auto done = run_verb(words.subspan(2));
        return done ? 0 : fail(done.error());
    }
    std::fputs("usage: holdfast-agent serve\n"
               "       holdfast-agent blob put NAME VERSION KEYFILE <FILE\n"
               "       holdfast-agent blob get NAME OLDEST KEYFILE >FILE\n"
               "       holdfast-agent keystore seal FILE <SECRET\n"
               "       holdfast-agent keystore unseal FILE >SECRET\n"
               "       holdfast-agent secret get NAME >SECRET\n"
               "       holdfast-agent group GROUP NAME MEMBER... -- PROGRAM [ARGUMENT...]\n"
               "       holdfast-agent channel listen|connect -- PROGRAM [ARGUMENT...]\n"
               "       holdfast-agent --version\n"
               "As the first process of an initramfs it takes no arguments.\n",
               stderr);
    return kUsage;
}

}  // namespace
}  // namespace holdfast::agent

int main(int argc, char** argv) { return holdfast::agent::run({argv, static_cast<std::size_t>(argc)}); }
