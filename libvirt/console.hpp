// SPDX-License-Identifier: Apache-2.0
// The guest's console between the VM and where the domain wants it: a pseudo terminal, a Unix socket, a file.
// Neither side can hold up the other or this process: what the outside does not take is dropped, as a serial
// line drops it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "libvirt/plan.hpp"
#include "sys/fd.hpp"
#include "sys/poller.hpp"

namespace holdfast::libvirt {

class Console {
public:
    struct Tokens {
        std::uint64_t guest = 0;
        std::uint64_t outside = 0;
        std::uint64_t listener = 0;
    };
    /// Opens what `chardev` names. The poller is borrowed and outlives this.
    static Result<std::unique_ptr<Console>> create(const Chardev& chardev, Poller& poller, Tokens tokens);

    /// The VM's end, to be handed over.
    [[nodiscard]] UniqueFd& guest_end() noexcept { return guest_end_; }
    /// As query-chardev shows it: "pty:/dev/pts/3".
    [[nodiscard]] const std::string& filename() const noexcept { return filename_; }
    void on_ready(std::uint64_t token);

private:
    Console(Chardev chardev, Poller& poller, Tokens tokens) noexcept
        : chardev_{std::move(chardev)}, poller_{poller}, tokens_{tokens} {}
    Result<void> open();
    Result<void> open_pty();
    Result<void> set_outside(UniqueFd fd);
    void from_guest();
    void from_outside();
    void accept();
    void drop_outside();
    void watch();

    const Chardev chardev_;
    Poller& poller_;
    const Tokens tokens_;
    std::string filename_;
    UniqueFd guest_;      ///< our end of the guest's console
    UniqueFd guest_end_;  ///< the VM's
    UniqueFd listener_;
    UniqueFd outside_;
    UniqueFd pty_slave_;    ///< held open: a terminal that nobody has open fails every read
    std::string to_guest_;  ///< at most one read's worth
};

}  // namespace holdfast::libvirt
