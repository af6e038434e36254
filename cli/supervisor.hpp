// SPDX-License-Identifier: Apache-2.0
// One VM from start to end: its two processes (and passt), what they report, the user's signals and
// the foreground console, in one poll loop. A guest that reboots gets a fresh pair of processes.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/resources.hpp"
#include "cli/terminal.hpp"
#include "iommu/audit.hpp"
#include "sys/process.hpp"
#include "sys/rate.hpp"

namespace holdfast::cli {

/// SIGINT, SIGTERM, SIGHUP and SIGQUIT as something to poll for; SIGPIPE is ignored. Blocked from
/// here on in this process (children start with nothing blocked).
class Signals {
public:
    Signals();
    [[nodiscard]] const UniqueFd& fd() const noexcept { return fd_; }
    /// Takes one; 0 if there is none.
    [[nodiscard]] int take() const noexcept;

private:
    UniqueFd fd_;
};

/// How a VM ended.
struct End {
    vmm::EndReason reason = vmm::EndReason::Failure;
    std::string detail;
};
[[nodiscard]] const char* reason_word(vmm::EndReason reason) noexcept;

class Supervisor {
public:
    /// `started` is called once, when the first instruction is about to run, with what the VMM says of the
    /// launch. Borrowed references outlive the supervisor.
    /// `state_dir` as it was given: where the audit log of devices is.
    Supervisor(const Shape& shape, Resources& resources, const std::string& state_dir, const Signals& signals,
               std::function<void(const vmm::Started&)> started);
    ~Supervisor();

    /// Connects the console to standard input and output from the start.
    void attach_console();
    /// Runs the VM to its end. Throws Failure for what is not an end of the guest's or user's making.
    End run();
    [[nodiscard]] std::uint32_t reboots() const noexcept { return reboots_; }
    [[nodiscard]] bool has_terminal() const { return console_ && console_->is_terminal(); }

private:
    /// The processes of one boot of the guest.
    struct Boot {
        Child vmm;
        Child io;
        std::optional<Child> passt;
        UniqueFd vmm_socket;
        UniqueFd io_socket;
    };

    void start_boot();
    void start_passt();
    End run_boot();
    void finish_boot();
    void wait_for_end(Child& child, std::chrono::milliseconds limit);
    void on_vmm_report();
    void note_device_events(vmm::VmmReport& report);
    void write_device_events();
    void on_io_report();
    void on_process_gone();
    [[noreturn]] void explain_loss(const std::string& last_words);
    void answer_vsock(const io::VsockConnect& request);
    void limit_log() const;
    [[nodiscard]] std::string log_tail() const;
    void end(vmm::EndReason reason, std::string detail);

    const Shape& shape_;
    Resources& resources_;
    const std::string& state_dir_;
    const Signals& signals_;
    std::function<void(const vmm::Started&)> started_;
    std::string programs_;
    io::LaunchConfig io_config_;
    vmm::LaunchConfig vmm_config_;
    vmm::LaunchFds vmm_fds_;
    UniqueFd console_end_;  ///< what each holdfast-io gets as its first console client
    std::optional<ConsoleRelay> console_;
    std::optional<Boot> boot_;
    std::optional<End> end_;
    bool guest_started_ = false;
    std::uint32_t reboots_ = 0;
    TokenBucket audit_budget_{iommu::AuditLog::kRate, iommu::AuditLog::kBurst, TokenBucket::Clock::now()};
    std::vector<vmm::DeviceEvent> device_events_;  ///< not in the audit log yet; bounded by the budget
    std::uint64_t audit_left_out_ = 0;
    TokenBucket::Clock::time_point events_written_at_;
};

}  // namespace holdfast::cli
