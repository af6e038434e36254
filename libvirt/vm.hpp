// SPDX-License-Identifier: Apache-2.0
// The VM behind a domain: `holdfast run` as a child of this process, and the VM's own control socket, whose
// client this process is as long as the VM lives. Both end with this process, however it ends.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "libvirt/plan.hpp"
#include "sys/process.hpp"

namespace holdfast::libvirt {

class Vm {
public:
    /// What the VM tells without being asked: one whole line, as libvirt may read it.
    using OnEvent = std::function<void(std::string_view line)>;

    /// Waits until the guest is about to run. `console`: its console, a stream socket; may be empty. On an
    /// error the child has said on standard error why, or `*why` does.
    static Result<std::unique_ptr<Vm>> start(const Plan& plan, const UniqueFd& console, OnEvent on_event);
    ~Vm();
    Vm(const Vm&) = delete;
    Vm& operator=(const Vm&) = delete;

    /// Carries out one command; the answer is QMP's whole one, with "return" or "error". Events that come
    /// before it or with it are told first.
    Result<nlohmann::json> ask(std::string_view command);
    /// Readable when there is something for on_readable().
    [[nodiscard]] const UniqueFd& control() const noexcept { return control_; }
    /// Does not wait. False: the VM has closed it.
    [[nodiscard]] bool on_readable();
    /// For its last events, when `holdfast run` has ended: until the VM has closed it.
    void read_to_end();
    /// Readable when `holdfast run` has ended.
    [[nodiscard]] const UniqueFd& ended() const noexcept { return child_.pidfd(); }
    /// Its exit status. Blocks; `end()` first unless it has ended.
    [[nodiscard]] int wait();
    void end() noexcept;

private:
    Vm(Child child, OnEvent on_event) noexcept : child_{std::move(child)}, on_event_{std::move(on_event)} {}
    Result<void> connect(const std::string& socket);
    /// One whole message; none within the deadline is an error.
    Result<nlohmann::json> next(std::chrono::steady_clock::time_point deadline);
    /// Tells the events before it.
    Result<nlohmann::json> next_answer(std::chrono::steady_clock::time_point deadline);
    /// What is there to read, or waits for it.
    Result<void> receive();
    bool take_line(std::string& line);
    /// Those received so far.
    void tell_events();

    Child child_;
    OnEvent on_event_;
    UniqueFd control_;
    std::string received_;
};

}  // namespace holdfast::libvirt
