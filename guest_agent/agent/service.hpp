// SPDX-License-Identifier: Apache-2.0
// The agent while it runs: as the first process of an initramfs it has the user's program and the machine's
// end; as a service of a system it only answers calls.
#pragma once

#include <memory>
#include <optional>

#include <sys/types.h>

#include "guest_agent/agent/config.hpp"
#include "guest_agent/call/server.hpp"
#include "guest_agent/call/services.hpp"

namespace holdfast::agent {

enum class Place : std::uint8_t { FirstProcess, Service };

/// One thread.
class Service final : public call::Handler {
public:
    static Result<std::unique_ptr<Service>> create(Config config, Place place);
    /// Until a signal, the power button, or the end of the program if the configuration says so.
    Result<void> run();
    /// Calls in. Nothing in them is secret and nothing that comes is believed: the host could find out or do
    /// all of it by other means.
    [[nodiscard]] call::Answer answer(const call::Request& request) override;

private:
    Service(Config config, Place place, Poller poller) noexcept;
    Result<void> open_descriptors();
    [[nodiscard]] call::Status status() const;
    void signal_came();
    void reap();
    void button_pressed();
    void ask_program_to_end();

    Config config_;
    Place place_;
    Poller poller_;
    UniqueFd signals_;
    UniqueFd button_;
    std::optional<call::Server> calls_;
    pid_t program_ = -1;
    bool started_ = false;
    std::optional<int> program_status_;
    bool done_ = false;
    std::optional<std::int64_t>
        patience_ends_ms_;  ///< when a program that was asked to end is not waited for
};

}  // namespace holdfast::agent
