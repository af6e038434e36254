// SPDX-License-Identifier: Apache-2.0
#include "cli/supervisor.hpp"

#include <algorithm>
#include <array>
#include <csignal>

#include <fmt/format.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/device_audit.hpp"
#include "cli/device_open.hpp"
#include "cli/error.hpp"
#include "cli/output.hpp"
#include "sys/eventfd.hpp"
#include "sys/program_pages.hpp"
#include "sys/socket.hpp"
#include "sys/unswapped_file.hpp"
#include "vmm/io/ring.hpp"

namespace holdfast::cli {
namespace {

using std::chrono::milliseconds;
using vmm::EndReason;

// What a process of ours may take to leave after it was told, or has said, that the VM has ended.
constexpr milliseconds kGrace{2000};
// How long holdfast-io may take to write out what it has.
constexpr milliseconds kLeave{2000};
// How long the end of one process may take to show in the other.
constexpr milliseconds kLastWords{100};
// How often the size of vmm.log is looked at, and what it may grow to in between and before.
constexpr milliseconds kLogCheck{60'000};
constexpr off_t kMaxVmmLog = 4 << 20;
// How long what a device was granted waits to be written into the audit log.
constexpr milliseconds kAuditDelay{500};
constexpr std::size_t kTail = 1024;

UniqueFd eventfd() { return expect(expect(EventFd::create()).fd().duplicate()); }

// Must not wait for a listener that does not accept: the guest chooses when this is called.
UniqueFd connect_now(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return {};
    path.copy(address.sun_path, path.size());
    UniqueFd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    // SAFETY: the sockets API takes every address family through this one type.
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) return {};
    return fd;
}

bool has_ended(const Child& child) {
    PollSet polls;
    const auto slot = polls.add(child.pidfd().get(), POLLIN);
    polls.wait(milliseconds{0});
    return polls.ready(slot);
}

}  // namespace

Signals::Signals() {
    sigset_t set;
    ::sigemptyset(&set);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) ::sigaddset(&set, signal);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    fd_ = UniqueFd{::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
    if (!fd_) expect(Result<void>{os_error("signalfd")});
}

int Signals::take() const noexcept {
    signalfd_siginfo info{};
    const bool got = ::read(fd_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info);
    return got ? static_cast<int>(info.ssi_signo) : 0;
}

const char* reason_word(EndReason reason) noexcept {
    switch (reason) {
        case EndReason::PowerOff: return "power-off";
        case EndReason::Failure: return "failure";
        case EndReason::Reboot: return "reboot";
        case EndReason::Panic: return "panic";
        case EndReason::Tampered: return "tampered";
        case EndReason::Killed: return "killed";
    }
    return "failure";
}

Supervisor::Supervisor(const Shape& shape, Resources& resources, const std::string& state_dir,
                       const Signals& signals, std::function<void(const vmm::Started&)> started)
    : shape_{shape},
      resources_{resources},
      state_dir_{state_dir},
      signals_{signals},
      started_{std::move(started)},
      programs_{program_directory()},
      vmm_config_{launch_config(shape)} {
    vmm_config_.net = resources.net;
    vmm_config_.devices = resources.devices;
    for (std::size_t i = 0; i < resources.disks.size(); ++i) {
        vmm_config_.disks[i].size_bytes = resources.disks[i].size_bytes;
    }

    vmm_fds_.kvm = std::move(resources.kvm);
    vmm_fds_.userfaultfd = std::move(resources.userfaultfd);
    vmm_fds_.kernel = std::move(resources.kernel);
    vmm_fds_.initrd = std::move(resources.initrd);
    vmm_fds_.control_listener = std::move(resources.qmp_listener);

    io_config_.console_listener = std::move(resources.console_listener);
    io_config_.console_log = std::move(resources.console_log);
    io_config_.disks = std::move(resources.disks);
    io_config_.net = std::move(resources.tap);
    io_config_.net_kind = resources.net_kind;
    io_config_.vsock_listener = std::move(resources.vsock_listener);
    io_config_.vsock_cid = shape.vsock ? shape.vsock->cid : 0;
}

Supervisor::~Supervisor() = default;

void Supervisor::attach_console() {
    auto [ours, theirs] = expect(socket_pair(SOCK_STREAM));
    console_.emplace(std::move(ours), "end the VM");
    console_end_ = std::move(theirs);
}

End Supervisor::run() {
    while (true) {
        end_.reset();
        start_boot();
        const End ended = run_boot();
        finish_boot();
        if (ended.reason != EndReason::Reboot || shape_.on_reboot == OnReboot::Exit) {
            if (resources_.vtpm) resources_.vtpm->leave();
            return ended;
        }
        ++reboots_;
        vmm_config_.start_paused = false;
    }
}

void Supervisor::start_boot() {
    auto [vmm_ours, vmm_theirs] = expect(socket_pair(SOCK_SEQPACKET));
    auto [io_ours, io_theirs] = expect(socket_pair(SOCK_SEQPACKET));
    auto [console_vmm, console_io] = expect(socket_pair(SOCK_STREAM));
    const Child::Stdio stdio{.err = resources_.vmm_log.get()};
    const auto start = [&](const char* program, const UniqueFd& socket) {
        auto child = Child::start(programs_ + '/' + program, {}, socket, stdio);
        if (child) return std::move(*child);
        throw Failure{Code::Programs, fmt::format("{} cannot be started", program), reason_of(child.error()),
                      "look at the host's process limits; else reinstall Holdfast"};
    };
    boot_.emplace();
    boot_->vmm_socket = std::move(vmm_ours);
    boot_->io_socket = std::move(io_ours);
    if (!resources_.passt.empty()) start_passt();

    vmm_fds_.io_memory = expect(sealed_memfd("holdfast-io", io::kSharedBytes));
    if (resources_.keep_from_swap == KeepFromSwap::File) {
        vmm_fds_.ram = expect(unswapped_file(shape_.memory_bytes));
    }
    vmm_fds_.io_requests = eventfd();
    vmm_fds_.io_completions = eventfd();
    vmm_fds_.console = std::move(console_vmm);
    if (resources_.tpm_control) {
        vmm_fds_.tpm_control = expect(resources_.tpm_control.duplicate());
        vmm_fds_.tpm_data = expect(resources_.tpm_data.duplicate());
    }
    for (const vmm::DeviceShape& device : resources_.devices) {
        vmm_fds_.devices.push_back(open_device(shape_, device.address, state_dir_));
    }
    io_config_.memory = expect(vmm_fds_.io_memory.duplicate());
    io_config_.requests = expect(vmm_fds_.io_requests.duplicate());
    io_config_.completions = expect(vmm_fds_.io_completions.duplicate());
    io_config_.console_guest = std::move(console_io);
    if (console_end_) io_config_.console_client = expect(console_end_.duplicate());

    // Each has its message at once and works while the other is started. The I/O process first: the
    // guest's first byte passes through it, and closing its jail takes longer than making a VM.
    // A child that is gone already is seen, and explained, in the loop.
    boot_->io = start("holdfast-io", io_theirs);
    [[maybe_unused]] const auto to_io = io::send_launch(boot_->io_socket, io_config_);
    boot_->vmm = start("holdfast-vmm", vmm_theirs);
    [[maybe_unused]] const auto to_vmm = vmm::send_launch(boot_->vmm_socket, vmm_config_, vmm_fds_);
    // Theirs now: an end that we kept would hide that the other side is gone.
    for (UniqueFd vmm::LaunchFds::* const fd :
         {&vmm::LaunchFds::io_memory, &vmm::LaunchFds::io_requests, &vmm::LaunchFds::io_completions,
          &vmm::LaunchFds::console, &vmm::LaunchFds::control_session, &vmm::LaunchFds::tpm_control,
          &vmm::LaunchFds::tpm_data, &vmm::LaunchFds::ram}) {
        (vmm_fds_.*fd).reset();
    }
    vmm_fds_.devices.clear();
    for (UniqueFd io::LaunchConfig::* const fd :
         {&io::LaunchConfig::memory, &io::LaunchConfig::requests, &io::LaunchConfig::completions,
          &io::LaunchConfig::console_guest, &io::LaunchConfig::console_client}) {
        (io_config_.*fd).reset();
    }
    if (!resources_.passt.empty()) io_config_.net.reset();
}

void Supervisor::start_passt() {
    // Not kept over a guest's reboot: the old connection may have stopped in the middle of a frame.
    auto [ours, theirs] = expect(socket_pair(SOCK_STREAM));
    std::vector<std::string> arguments{"--foreground", "--quiet",
                                       "--mtu",        fmt::to_string(resources_.net->mtu),
                                       "--fd",         fmt::to_string(kHandoverFd)};
    // It would look for nobody in /etc/passwd, which Debian's AppArmor profile for it forbids.
    if (::geteuid() == 0) arguments.insert(arguments.end(), {"--runas", "65534:65534"});
    for (const Forward& forward : shape_.forwards) {
        arguments.insert(arguments.end(), {"--tcp-ports", fmt::format("127.0.0.1/{}:{}", forward.host_port,
                                                                      forward.guest_port)});
    }
    auto child = Child::start(resources_.passt, arguments, theirs, {.err = resources_.vmm_log.get()});
    if (!child) {
        throw Failure{Code::Passt, "passt cannot be started", reason_of(child.error()),
                      "reinstall passt, or use --net tap=IF"};
    }
    boot_->passt = std::move(*child);
    io_config_.net = std::move(ours);
}

End Supervisor::run_boot() {
    while (!end_) {
        PollSet polls;
        const auto signal = polls.add(signals_.fd().get(), POLLIN);
        const auto vmm = polls.add(boot_->vmm_socket.get(), POLLIN);
        const auto io = polls.add(boot_->io_socket.get(), POLLIN);
        const auto vmm_gone = polls.add(boot_->vmm.pidfd().get(), POLLIN);
        const auto io_gone = polls.add(boot_->io.pidfd().get(), POLLIN);
        const auto passt_gone =
            boot_->passt ? polls.add(boot_->passt->pidfd().get(), POLLIN) : PollSet::kNone;
        const auto vtpm_gone =
            resources_.vtpm ? polls.add(resources_.vtpm->vtpm().pidfd().get(), POLLIN) : PollSet::kNone;
        const auto store_gone =
            resources_.vtpm ? polls.add(resources_.vtpm->store().pidfd().get(), POLLIN) : PollSet::kNone;
        if (console_) console_->prepare(polls);
        polls.wait(device_events_.empty() ? kLogCheck : kAuditDelay);

        // Reports before endings: who says goodbye and leaves is both at once.
        if (polls.ready(vmm)) on_vmm_report();
        if (polls.ready(io)) on_io_report();
        if (polls.ready(signal)) {
            if (const int number = signals_.take(); number != 0) {
                end(EndReason::Killed, fmt::format("by {}", ::strsignal(number)));
            }
        }
        // A guest whose TPM is gone would go on without: what it was measured and sealed for is not there.
        if (!end_ && (polls.ready(vtpm_gone) || polls.ready(store_gone))) resources_.vtpm->explain_end();
        if (!end_ && (polls.ready(vmm_gone) || polls.ready(io_gone))) on_process_gone();
        if (polls.ready(passt_gone)) {
            boot_->passt.reset();
            print_error("holdfast: {}: passt ended: the guest has no network any more\n", shape_.name);
        }
        if (console_ && console_->advance(polls)) end(EndReason::Killed, "by Ctrl-A x");
        if (TokenBucket::Clock::now() - events_written_at_ >= kAuditDelay) write_device_events();
        limit_log();
    }
    write_device_events();
    return *end_;
}

void Supervisor::end(EndReason reason, std::string detail) {
    // A guest that has just asked for a reboot must not outlive who was told to end: the signal is taken.
    const bool overrules = end_ && end_->reason == EndReason::Reboot && reason == EndReason::Killed;
    if (!end_ || overrules) end_ = End{.reason = reason, .detail = std::move(detail)};
}

void Supervisor::on_vmm_report() {
    if (!boot_->vmm_socket) return;
    auto report = vmm::receive_report(boot_->vmm_socket);
    if (!report || !*report) {
        // Nonsense or nothing: its ending will tell. A VMM that talks nonsense is not trusted further.
        if (!report) boot_->vmm.kill(SIGKILL);
        boot_->vmm_socket.reset();
        return;
    }
    note_device_events(**report);
    if (const auto& started = (*report)->started) {
        if (std::exchange(guest_started_, true)) return;
        // The files may change under a guest that reboots; what was measured and told must not.
        vmm_config_.expected_digest = started->launch_digest;
        started_(*started);
        drop_program_pages();
        return;
    }
    if (!(*report)->ended) return;
    vmm::Ended& ended = *(*report)->ended;
    if (ended.reason == EndReason::Failure) {
        if (!guest_started_) {
            throw Failure{Code::Launch, fmt::format("the VM '{}' could not be started", shape_.name),
                          printable(ended.detail),
                          "check kernel, initrd, memory and the host (holdfast doctor)"};
        }
        explain_loss(printable(ended.detail));
    }
    vmm_fds_.control_session = std::move(ended.control_session);
    end(ended.reason, printable(ended.detail));
}

/// The VMM limits what its guest causes; a VMM that does not is limited here.
void Supervisor::note_device_events(vmm::VmmReport& report) {
    auto& events = report.device_events;
    const std::uint64_t allowed = audit_budget_.take(events.size(), TokenBucket::Clock::now());
    audit_left_out_ += report.left_out + (events.size() - allowed);
    events.resize(allowed);
    device_events_.insert(device_events_.end(), events.begin(), events.end());
}

/// Not each by itself: the whole log is checked whenever it is opened.
void Supervisor::write_device_events() {
    events_written_at_ = TokenBucket::Clock::now();
    if (device_events_.empty()) return;
    DeviceAudit{state_dir_}.note_all(device_events_, resources_.devices, audit_left_out_);
    device_events_.clear();
    audit_left_out_ = 0;
}

void Supervisor::on_io_report() {
    if (!boot_->io_socket) return;
    auto report = io::receive_report(boot_->io_socket);
    if (!report || !*report) {
        if (!report) boot_->io.kill(SIGKILL);
        boot_->io_socket.reset();
        return;
    }
    if (const auto* const request = std::get_if<io::VsockConnect>(&**report)) answer_vsock(*request);
    if (const auto* const failed = std::get_if<io::Failed>(&**report)) {
        throw Failure{Code::IoFailed,
                      fmt::format("the I/O process of '{}' gave up: the VM was stopped", shape_.name),
                      printable(failed->detail), "check disks, network and vsock path of the VM"};
    }
}

void Supervisor::answer_vsock(const io::VsockConnect& request) {
    io::VsockAnswer answer{.token = request.token};
    answer.stream = connect_now(fmt::format("{}_{}", resources_.vsock_file.path(), request.port));
    [[maybe_unused]] const auto sent = io::send_answer(boot_->io_socket, answer);
}

void Supervisor::on_process_gone() {
    // A last report tells more than an ending: or one more round until its socket is at its end.
    while (!end_ && boot_->vmm_socket) on_vmm_report();
    if (!end_ && boot_->io_socket) on_io_report();
    if (!end_) explain_loss({});
}

// Each of the two leaves when the other is gone, so both may have ended by now: who was ended by a
// signal was first. `last_words` is what the VMM gave as its reason, if it did.
void Supervisor::explain_loss(const std::string& last_words) {
    write_device_events();
    wait_for_end(boot_->vmm, kLastWords);
    wait_for_end(boot_->io, kLastWords);
    // A big VMM that a signal ended takes its time: its memory goes first. holdfast-io, which sees its
    // sockets close before that, leaves with 0 then.
    if (!has_ended(boot_->vmm) && has_ended(boot_->io)) wait_for_end(boot_->vmm, kGrace);
    const auto ending_of = [](Child& child) {
        return has_ended(child) ? std::optional{expect(child.wait())} : std::nullopt;
    };
    const auto vmm = ending_of(boot_->vmm);
    const auto io = ending_of(boot_->io);
    const bool io_first = io && !(vmm && vmm->signalled) && (io->signalled || (!vmm && last_words.empty()));
    if (!io_first && !last_words.empty()) {
        throw Failure{Code::VmmDied, fmt::format("the VM '{}' has failed", shape_.name), last_words,
                      "its log may say more: " + log_tail()};
    }
    throw Failure{io_first ? Code::IoDied : Code::VmmDied,
                  fmt::format("{} ended unexpectedly ({}): the VM '{}' was stopped",
                              io_first ? "holdfast-io" : "holdfast-vmm",
                              ending_words(io_first ? *io : vmm.value_or(Ending{})), shape_.name),
                  log_tail(), "if nobody killed it, this is a bug of ours: please report it"};
}

void Supervisor::wait_for_end(Child& child, milliseconds limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (child.pid() >= 0) {
        const auto left = std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now());
        if (left <= milliseconds{0}) return;
        PollSet polls;
        const auto gone = polls.add(child.pidfd().get(), POLLIN);
        if (console_) console_->prepare(polls);
        polls.wait(left);
        if (console_) [[maybe_unused]]
            const bool leave = console_->advance(polls);
        if (polls.ready(gone)) return;
    }
}

// Orderly: the VMM leaves by itself or at once, then holdfast-io writes out what it has and leaves.
// Destroying the children kills what is left.
void Supervisor::finish_boot() {
    if (end_->reason == EndReason::Killed) boot_->vmm.kill(SIGKILL);
    wait_for_end(boot_->vmm, kGrace);
    boot_->vmm.kill(SIGKILL);
    // It leaves when its end of the guest's console is closed and everything is written; told to,
    // it leaves without. Not closed: it may not have said yet that it is ready.
    wait_for_end(boot_->io, kLeave);
    if (boot_->io_socket) ::shutdown(boot_->io_socket.get(), SHUT_WR);
    wait_for_end(boot_->io, kGrace);
    boot_.reset();
    if (console_) console_->drain();
}

void Supervisor::limit_log() const {
    struct stat status{};
    if (::fstat(resources_.vmm_log.get(), &status) < 0 || status.st_size <= kMaxVmmLog) return;
    if (::ftruncate(resources_.vmm_log.get(), 0) < 0) return;
    constexpr std::string_view note = "holdfast: older lines were dropped\n";
    [[maybe_unused]] const auto written = write_all(resources_.vmm_log, std::as_bytes(std::span{note}));
}

std::string Supervisor::log_tail() const {
    struct stat status{};
    std::array<char, kTail> bytes;
    if (::fstat(resources_.vmm_log.get(), &status) < 0) return "its log cannot be read";
    const off_t start = std::max<off_t>(0, status.st_size - static_cast<off_t>(kTail));
    const ssize_t got = ::pread(resources_.vmm_log.get(), bytes.data(), bytes.size(), start);
    std::string_view text{bytes.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0))};
    // The last line that is not of an ordinary life.
    while (!text.empty()) {
        text = text.substr(0, text.find_last_not_of('\n') + 1);
        const std::size_t before = text.rfind('\n');
        const std::string_view line = before == std::string_view::npos ? text : text.substr(before + 1);
        if (!line.empty() && line.find(": info ") == std::string_view::npos) return printable(line);
        text = text.substr(0, text.size() - line.size());
    }
    return "it left no word in its log";
}

}  // namespace holdfast::cli
