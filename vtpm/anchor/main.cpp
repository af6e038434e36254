// SPDX-License-Identifier: Apache-2.0
// holdfast-anchor: one a host, in a jail; the only user of the anchor's objects in the host's TPM. Finds its
// LaunchConfig on descriptor 3, opens nothing itself, and ends when its launcher does.
#include <cstdlib>
#include <ctime>

#include <openssl/crypto.h>

#include "sys/log.hpp"
#include "sys/process.hpp"
#include "sys/sandbox/jail.hpp"
#include "sys/sandbox/policies.hpp"
#include "vtpm/anchor/hash.hpp"
#include "vtpm/anchor/host_tpm.hpp"
#include "vtpm/anchor/launch.hpp"
#include "vtpm/anchor/server.hpp"

namespace {

using namespace holdfast;
using namespace holdfast::anchor;

std::unexpected<Refusal> refuse(Refused state, const Error& error) {
    return std::unexpected{Refusal{state, error}};
}

/// Whatever OpenSSL and tpm2-tss would look for in files or the environment, they look for now.
void prepare_libraries() {
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, nullptr);
    // tpm2-tss would print to standard error; what matters is in the errors that it returns.
    ::setenv("TSS2_LOG", "all+NONE", 1);
    static_cast<void>(std::time(nullptr));
}

Result<void> enter_jail(const LaunchConfig& config) {
    std::vector<int> keep{kHandoverFd, STDERR_FILENO};
    for (const UniqueFd* each : {&config.tpm, &config.keys, &config.log0, &config.log1, &config.listener}) {
        if (*each) keep.push_back(each->get());
    }
    return sandbox::enter({.filter = sandbox::policy::anchor,
                           .keep = keep,
                           .max_descriptors = kMaxClients + 64,
                           .max_threads = 1});
}

std::expected<Ready, Refusal> init(LaunchConfig config) {
    KeyStore store{std::move(config.keys)};
    auto link = config.tpm.duplicate();
    if (!link) return refuse(Refused::Disk, link.error());
    Bytes update_key;
    if (!config.update_key.empty()) {
        auto point = update_key_of(config.update_key);
        if (!point) return refuse(Refused::KeysLocked, point.error());
        update_key = std::move(*point);
    }
    auto made = HostTpm::init(std::move(*link), store, config.pcrs, std::move(update_key));
    if (!made) return std::unexpected{made.error()};
    // From here on as in every later life: with an authValue that is fenced.
    auto tpm = HostTpm::open(std::move(config.tpm), store);
    if (!tpm) return std::unexpected{tpm.error()};
    if (auto fenced = (*tpm)->fence(); !fenced) return std::unexpected{fenced.error()};
    const auto at = (*tpm)->read();
    if (!at) return refuse(Refused::TpmUnreachable, at.error());
    const auto key = (*tpm)->derive("record key");
    if (!key) return refuse(Refused::Disk, key.error());
    DiskLogFiles files{{std::move(config.log0), std::move(config.log1)}};
    const Anchor::Setup setup{.files = files, .counters = **tpm, .key = *key};
    if (auto founded = Anchor::found(setup, *at); !founded) return refuse(Refused::Disk, founded.error());
    return Ready{at->o + 1, at->s + 1, false};
}

std::expected<void, Refusal> serve(const UniqueFd& handover, LaunchConfig config) {
    KeyStore store{std::move(config.keys)};
    auto tpm = HostTpm::open(std::move(config.tpm), store, config.approval);
    if (!tpm) return std::unexpected{tpm.error()};
    const auto key = (*tpm)->derive("record key");
    if (!key) return refuse(Refused::Disk, key.error());
    const auto vm_keys = (*tpm)->derive("vtpm keys");
    if (!vm_keys) return refuse(Refused::Disk, vm_keys.error());
    DiskLogFiles files{{std::move(config.log0), std::move(config.log1)}};
    auto anchor =
        Anchor::open({.files = files,
                      .counters = **tpm,
                      .key = *key,
                      .on_power_loss = config.adopt_checkpoints ? OnPowerLoss::Adopt : OnPowerLoss::Refuse});
    if (!anchor) return std::unexpected{anchor.error()};
    const KeyFile& keys = (*tpm)->keys();
    Clerk clerk{{.anchor = **anchor,
                 .counters = **tpm,
                 .witness = tpm->get(),
                 .vm_keys = *vm_keys,
                 .attestation_public = keys.attestation_public,
                 .wear = {keys.first_o, keys.first_s, keys.jump_bits, keys.starts, keys.made_at},
                 .daily_budget = config.daily_budget,
                 .stores_a_second = config.stores_a_second,
                 .software_tpm = config.software_tpm},
                Clerk::Clock::now()};
    auto server = Server::create(handover, std::move(config.listener), clerk);
    if (!server) return refuse(Refused::Disk, server.error());
    const Reading& at = (*anchor)->counters();
    if (auto told = send_report(handover, Ready{at.o, at.s, (*anchor)->adopted()}); !told) {
        return refuse(Refused::Disk, told.error());
    }
    if (auto served = server->run(); !served) return refuse((*anchor)->cause(), served.error());
    // An orderly end: what was committed no longer depends on the TPM keeping its power.
    if (auto last = (*anchor)->commit({}, Strength::Strict); !last)
        return refuse((*anchor)->cause(), last.error());
    return {};
}

std::expected<void, Refusal> live(const UniqueFd& handover) {
    auto config = receive_launch(handover);
    if (!config) return refuse(Refused::Disk, config.error());
    prepare_libraries();
    if (auto jailed = enter_jail(*config); !jailed) return refuse(Refused::Disk, jailed.error());
    if (config->mode == Mode::Serve) return serve(handover, std::move(*config));
    const auto ready = init(std::move(*config));
    if (!ready) return std::unexpected{ready.error()};
    if (auto told = send_report(handover, *ready); !told) return refuse(Refused::Disk, told.error());
    return {};
}

}  // namespace

int main() {
    log::configure("holdfast-anchor", log::Level::Info);
    const UniqueFd handover{kHandoverFd};
    const auto lived = live(handover);
    if (lived) return EXIT_SUCCESS;
    const auto [found, error] = lived.error();
    const bool forged = found == Refused::TpmUnreachable && error.fault == Fault::Peer;
    const Refused state = forged ? Refused::TpmForged : found;
    const RefusalWords words = words_of(state);
    log::error("anchor.refused", error, {{"state", words.name}});
    // Best effort: whoever started us may be gone.
    static_cast<void>(send_report(handover, RefusedReport{state, error.what}));
    return EXIT_FAILURE;
}
