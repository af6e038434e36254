// SPDX-License-Identifier: Apache-2.0
// A vTPM that runs: holdfast-vtpm and its holdfast-store, started by this process.
#pragma once

#include <optional>
#include <string>

#include "cli/anchor_door.hpp"
#include "cli/socket_file.hpp"
#include "cli/vtpm_home.hpp"
#include "sys/process.hpp"
#include "vtpm/launch.hpp"

namespace holdfast::cli {

/// Destroying it ends both at once, as a power cut would; leave() is the orderly way.
class VtpmProcess {
public:
    /// Readable when there is a word of holdfast-vtpm, or its end.
    [[nodiscard]] const UniqueFd& socket() const noexcept { return socket_; }
    [[nodiscard]] const Child& vtpm() const noexcept { return vtpm_; }
    [[nodiscard]] const Child& store() const noexcept { return store_; }
    /// Waits until it has opened its state. Throws what is wrong with it (HF-0501, HF-0504, HF-0505).
    void wait_ready();
    /// Lets it shut the TPM down, and waits.
    void leave();
    /// Throws HF-0505: it has ended by itself, which it never should.
    [[noreturn]] void explain_end();

private:
    friend struct VtpmStart;
    std::string name_;
    SocketFile quotes_;
    AnchorDoor door_;  // waits for the end of holdfast-vtpm, which is behind it
    UniqueFd socket_;
    Child store_;
    Child vtpm_;
};

/// What a vTPM is started with.
struct VtpmStart {
    std::string name;
    vtpm::Identity identity;
    vtpm::Start start = vtpm::Start::Stored;
    anchor::Digest tenant{};  ///< of a new one on a host with an anchor (vtpm/launch.hpp)
    bool strict = false;      ///< every store survives a power cut; needs an anchor
    UniqueFd state;           ///< its file
    UniqueFd listener;        ///< for any client, one after the other
    UniqueFd control;         ///< or for one alone: both are stream sockets, their other ends its client's
    UniqueFd data;
    std::string quotes;  ///< where it answers the host (vtpm/quote.hpp); empty: nowhere
    int log = -1;        ///< where the processes' log goes; -1: standard error

    /// Starts both processes and waits for neither. Anchored, if there is an anchor in `state_dir`; if not,
    /// says so in the log. Throws HF-0605 where the anchor does not serve, or is missing and `strict`.
    [[nodiscard]] VtpmProcess launch(const SecretBytes& host_key, const std::string& state_dir) &&;
};

/// A vTPM of this host for one VM: for `holdfast run --vtpm on`.
struct AttachedVtpm {
    VtpmProcess process;
    UniqueFd control;  ///< the client's ends, for holdfast-vmm
    UniqueFd data;
};
/// A new vTPM of this host, with its certificates, not running. `tenant_key`: the file of the public key that
/// may re-anchor it, or empty. Throws HF-0502 and what a start throws.
void make_vtpm(const std::string& state_dir, const std::string& name, const std::string& tenant_key);
/// Makes the vTPM first where there is none. Throws HF-0501, HF-0502, HF-0504, HF-0507; call
/// process.wait_ready() before the guest runs.
[[nodiscard]] AttachedVtpm start_vtpm(const std::string& state_dir, const std::string& name, bool strict,
                                      int log);

}  // namespace holdfast::cli
