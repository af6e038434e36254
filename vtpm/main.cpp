// SPDX-License-Identifier: Apache-2.0
// holdfast-vtpm: one vTPM. Finds its launch on descriptor 3, jails itself, and serves the control
// channel's client. It has no files: its state comes from and goes to holdfast-store, sealed.
// OpenSSL 3 calls RAND_METHOD deprecated; draw() says why it is used.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <cerrno>
#include <cstdlib>
#include <memory>

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <sys/random.h>
#include <unistd.h>

#include "sys/log.hpp"
#include "sys/process.hpp"
#include "sys/sandbox/jail.hpp"
#include "sys/sandbox/policies.hpp"
#include "vtpm/channel/server.hpp"
#include "vtpm/launch.hpp"

namespace {

using namespace holdfast;

/// Random bytes for OpenSSL and libtpms from the kernel's generator. OpenSSL's own is seeded from it too, and
/// to make that one it first builds every algorithm it has, which costs more than all else at our start
/// (docs/measurements.md).
int draw(unsigned char* out, int size) {
    for (int done = 0; done < size;) {
        const ssize_t n = ::getrandom(out + done, static_cast<std::size_t>(size - done), 0);
        if (n < 0 && errno != EINTR) return 0;
        if (n > 0) done += static_cast<int>(n);
    }
    return 1;
}
int is_seeded() { return 1; }  // getrandom(2) waits for that
constexpr RAND_METHOD kKernelRandom{.seed = nullptr,
                                    .bytes = draw,
                                    .cleanup = nullptr,
                                    .add = nullptr,
                                    .pseudorand = draw,
                                    .status = is_seeded};

Result<void> warm_up_openssl() {
    // No configuration file and no engine: there will be no files. A first draw shows that it can, while a
    // failure can still be told.
    unsigned char byte = 0;
    constexpr std::uint64_t kBare = OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT |
                                    OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS;  // 100 KiB that nobody reads
    if (OPENSSL_init_crypto(kBare, nullptr) != 1 || RAND_set_rand_method(&kKernelRandom) != 1 ||
        RAND_bytes(&byte, 1) != 1) {
        return Error{Fault::Os, 0, "initialise OpenSSL"};
    }
    return {};
}

Result<void> serve(const UniqueFd& handover) {
    auto [launch, key] = HF_TRY(vtpm::receive_launch(handover));
    HF_TRY(warm_up_openssl());
    vtpm::StoreClient store{std::move(launch.state)};
    const vtpm::Id id = launch.identity.id;
    vtpm::Sealer sealer{std::move(key), std::move(launch.identity)};
    std::unique_ptr<vtpm::Anchored> anchored;
    if (launch.anchor)
        anchored = HF_TRY(vtpm::Anchored::create(
            std::move(launch.anchor), id, launch.tenant,
            launch.strict ? vtpm::Strictness::Strict : vtpm::Strictness::Ordinary, store));
    vtpm::Keeper keeper = anchored ? vtpm::Keeper{std::move(sealer), store, *anchored,
                                                  HF_TRY(SecretBytes::create(vtpm::kStateKeyBytes))}
                                   : vtpm::Keeper{std::move(sealer), store, store};
    const auto engine = HF_TRY(vtpm::Engine::create());
    vtpm::Service service{*engine, keeper, launch.start};
    const auto server = HF_TRY(vtpm::channel::Server::create({.listener = std::move(launch.listener),
                                                              .control = std::move(launch.control),
                                                              .data = std::move(launch.data),
                                                              .quotes = std::move(launch.quotes)},
                                                             service, handover));

    std::vector<int> keep = server->descriptors();
    keep.insert(keep.end(),
                {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, handover.get(), store.socket().get()});
    if (anchored) keep.push_back(anchored->door().get());
    HF_TRY(sandbox::enter({.filter = sandbox::policy::vtpm, .keep = keep}));
    // The state is the first foreign byte.
    HF_TRY(service.prepare());
    HF_TRY(vtpm::send_report(handover, {.ready = true}));
    HF_TRY(server->run());
    return keeper.stop();
}

}  // namespace

int main() {
    log::configure("holdfast-vtpm", log::Level::Info);
    const UniqueFd handover{kHandoverFd};
    const auto served = serve(handover);
    if (served) return EXIT_SUCCESS;
    const Error& error = served.error();
    log::error("vtpm.failed", error);
    // Best effort: whoever started us may be gone.
    [[maybe_unused]] const auto told =
        vtpm::send_report(handover, {.input = error.fault == Fault::Input, .detail = error.what});
    return EXIT_FAILURE;
}
