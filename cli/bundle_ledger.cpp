// SPDX-License-Identifier: Apache-2.0
// Which security version of a bundle this host has launched, in the ledger of its anchor.
#include <sys/socket.h>

#include <fmt/format.h>

#include "cli/anchor_files.hpp"
#include "cli/bundle.hpp"
#include "cli/error.hpp"
#include "cli/output.hpp"
#include "sys/socket.hpp"
#include "vtpm/anchor/protocol.hpp"

namespace holdfast::cli {
namespace {

anchor::VmId ledger_id(const Bundle& bundle) {
    Sha256 hash;
    const auto add = [&](std::string_view text) { hash.update(std::as_bytes(std::span{text})); };
    add({"holdfast bundle\0", 16});
    Sha256 signer;
    signer.update(bundle.signer);
    hash.update(signer.finish());
    add(bundle.manifest.name);
    const Digest256 digest = hash.finish();
    anchor::VmId id{};
    std::ranges::copy(std::span{digest}.first(id.size()), id.begin());
    return id;
}

}  // namespace

void note_launch(const Bundle& bundle, const std::string& state_dir) {
    const AnchorFiles files{state_dir};
    const attest::BundleManifest& manifest = bundle.manifest;
    if (!files.exist()) {
        print_error(
            "holdfast: bundle {}: this host has no anchor, so it launches older versions of it as well "
            "(holdfast anchor init makes one)\n",
            printable(manifest.name));
        return;
    }
    const auto answer = [&]() -> Result<anchor::Answer> {
        const UniqueFd socket = HF_TRY(connect_unix(files.socket(), SOCK_SEQPACKET));
        return anchor::ask(socket, anchor::BundleAsk{.bundle = ledger_id(bundle),
                                                     .security_version = manifest.security_version});
    }();
    if (!answer) {
        throw Failure{Code::AnchorStopped,
                      fmt::format("the bundle '{}' is not launched without this host's anchor",
                                  printable(manifest.name)),
                      reason_of(answer.error()),
                      "holdfast anchor status says why; holdfast anchor serve runs it"};
    }
    if (std::holds_alternative<anchor::Committed>(*answer)) return;
    const auto* const denied = std::get_if<anchor::Denied>(&*answer);
    const bool older = denied != nullptr && denied->why == anchor::Denial::OlderBundle;
    throw Failure{older ? Code::BundleOld : Code::AnchorDenied,
                  fmt::format("the bundle '{}' with security version {} is not launched",
                              printable(manifest.name), manifest.security_version),
                  denied != nullptr ? anchor::denial_words(denied->why) : "the anchor answers something else",
                  older ? "take the newest one from whoever signs it; there is no way back on this host"
                        : "holdfast anchor status says more"};
}

}  // namespace holdfast::cli
