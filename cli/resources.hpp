// SPDX-License-Identifier: Apache-2.0
// Everything of the host that one VM uses, opened and checked before any process is started. This is
// the only place where a path that the user gave is opened.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/locked_memory.hpp"
#include "cli/shape.hpp"
#include "cli/socket_file.hpp"
#include "cli/state.hpp"
#include "cli/vtpm_process.hpp"
#include "sys/fd.hpp"
#include "vmm/io/launch.hpp"
#include "vmm/launch.hpp"

namespace holdfast::cli {

/// Kept for the VM's whole life: a guest that reboots gets the same ones.
struct Resources {
    UniqueFd kvm;
    UniqueFd userfaultfd;
    KeepFromSwap keep_from_swap = KeepFromSwap::Lock;
    UniqueFd kernel;
    UniqueFd initrd;
    std::vector<io::Disk> disks;
    UniqueFd tap;
    io::NetKind net_kind = io::NetKind::Passt;
    std::optional<vmm::NetShape> net;
    std::vector<vmm::DeviceShape> devices;  ///< judged; they are opened for each boot of the guest
    std::string passt;                      ///< path of the program; empty: none
    UniqueFd vsock_listener;
    SocketFile vsock_file;
    std::optional<VtpmProcess> vtpm;  ///< the host's own for `--vtpm on`; it goes on over a guest's reboot
    UniqueFd tpm_control;             ///< of that, or of somebody else's
    UniqueFd tpm_data;
    UniqueFd qmp_listener;
    UniqueFd console_listener;
    UniqueFd console_log;
    UniqueFd vmm_log;
};

/// What the VMM is told of this shape, but for what only open files know: sizes of disks, MAC and MTU.
[[nodiscard]] vmm::LaunchConfig launch_config(const Shape& shape);

/// Throws HF-0201.
[[nodiscard]] UniqueFd open_kernel(const Shape& shape);
/// Empty if the shape has none. Throws HF-0202.
[[nodiscard]] UniqueFd open_initrd(const Shape& shape);

/// `state_dir` as it was given: where the host's vTPMs are.
[[nodiscard]] Resources open_resources(const Shape& shape, const StateDirectory& directory,
                                       const std::string& state_dir);

/// The absolute path of passt. Throws HF-0206.
[[nodiscard]] std::string find_passt();

/// The absolute path of another program of ours that is installed where this one is.
[[nodiscard]] std::string program_beside(const char* name);

/// The directory of holdfast-vmm and holdfast-io: beside this program, or ../libexec/holdfast.
[[nodiscard]] std::string program_directory();

}  // namespace holdfast::cli
