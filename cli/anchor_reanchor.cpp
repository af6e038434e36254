// SPDX-License-Identifier: Apache-2.0
// holdfast anchor reanchor: a vTPM whose newest state is lost goes on from the one that lies on the disk, if
// its tenant signs for it. Without a signature it writes what is to be signed.
#include <fmt/format.h>

#include "cli/anchor_files.hpp"
#include "cli/anchor_verbs.hpp"
#include "cli/error.hpp"
#include "cli/files.hpp"
#include "cli/output.hpp"
#include "cli/signing.hpp"
#include "cli/vtpm_home.hpp"
#include "sys/socket.hpp"
#include "vtpm/anchor/reanchor.hpp"
#include "vtpm/state/seal.hpp"

namespace holdfast::cli {
namespace {

struct OnDisk {
    anchor::VmId vm{};
    anchor::State state;
};

OnDisk look_at_disk(const std::string& name, const std::string& state_dir) {
    const FoundVtpm found = VtpmHome{state_dir}.find(name);
    const auto unusable = [&](const std::string& why) -> Failure {
        return {Code::VtpmState, fmt::format("the state of the vTPM '{}' cannot be used", name), why,
                "bring back the newest backup of its file, and say this again"};
    };
    if (!found.damage.empty()) throw unusable(found.damage);
    vtpm::store::FileDisk disk{open_vtpm_state(found.file)};
    const auto slots = vtpm::store::Slots::open(disk);
    if (!slots) throw unusable(reason_of(slots.error()));
    if (slots->version() == 0) throw unusable("there is none in its file");
    return {.vm = found.owner.identity.id,
            .state = {.version = slots->version(),
                      .permanent = expect(vtpm::digest_of(slots->blob())),
                      .volatile_state = {}}};
}

[[noreturn]] void declined(anchor::Denial why) {
    throw Failure{Code::AnchorDenied, "the vTPM was not re-anchored", denial_words(why),
                  "holdfast anchor reanchor NAME --statement FILE writes what its tenant has to sign now"};
}

}  // namespace

int reanchor(const AnchorOptions& options, const AnchorFiles& files, const std::string& state_dir) {
    const bool signs = !options.signature.empty() && !options.tenant_key.empty();
    if (options.vtpm.empty() || signs == !options.statement.empty()) {
        throw Failure{Code::Usage,
                      "reanchor wants a vTPM's name, and either --statement or --signature and --tenant-key",
                      "first the statement is written, then its tenant signs it, then it is handed in",
                      "holdfast anchor reanchor NAME --statement FILE"};
    }
    const auto socket = connect_unix(files.socket(), SOCK_SEQPACKET);
    if (!socket) {
        throw Failure{Code::AnchorStopped, "no anchor serves here", reason_of(socket.error()),
                      "holdfast anchor status says why"};
    }
    const OnDisk disk = look_at_disk(options.vtpm, state_dir);
    if (signs) {
        const auto answer =
            expect(ask(*socket, anchor::ReanchorAsk{
                                    .vm = disk.vm,
                                    .accepted = disk.state,
                                    .tenant_key = read_public_key(options.tenant_key, KeyKind::Ed25519OrP256),
                                    .signature = read_signature(options.signature)}));
        if (const auto* no = std::get_if<anchor::Denied>(&answer)) declined(no->why);
        print("{}: re-anchored at version {}; its verifiers will see a new generation\n", options.vtpm,
              disk.state.version);
        return 0;
    }
    const auto answer = expect(ask(*socket, anchor::LeafAsk{disk.vm}));
    if (const auto* no = std::get_if<anchor::Denied>(&answer)) declined(no->why);
    const auto* const found = std::get_if<anchor::LeafAnswer>(&answer);
    if (found == nullptr) expect(Result<void>{peer_fault("the anchor answers something else")});
    write_file(options.statement, reanchor_statement(found->anchor, found->leaf, disk.state));
    print("{}: the newest state is version {}, the one on this disk is version {}. If its tenant accepts the "
          "loss:\n"
          "  openssl pkeyutl -sign -rawin -inkey TENANT.key -in {} -out SIGNATURE\n"
          "  holdfast anchor reanchor {} --tenant-key TENANT.pem --signature SIGNATURE\n",
          options.vtpm, found->leaf.version, disk.state.version, printable(options.statement), options.vtpm);
    return 0;
}

}  // namespace holdfast::cli
