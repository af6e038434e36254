// SPDX-License-Identifier: Apache-2.0
#include "libvirt/adapter.hpp"

#include <array>
#include <csignal>
#include <optional>

#include <fcntl.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libvirt/answers.hpp"
#include "libvirt/console.hpp"
#include "libvirt/option.hpp"
#include "libvirt/parts.hpp"
#include "libvirt/vm.hpp"
#include "sys/poller.hpp"
#include "sys/socket.hpp"
#include "vmm/control/server.hpp"

namespace holdfast::libvirt {
namespace {

enum Token : std::uint64_t {
    kSignal,
    kListener,
    kSession,
    kControl,
    kEnded,
    kGuest,
    kOutside,
    kConsoleListener
};

// libvirt is given this long to come, and to hear of the end before the socket closes.
constexpr std::chrono::milliseconds kLastWords{1000};

Result<UniqueFd> ending_signals() {
    sigset_t set;
    ::sigemptyset(&set);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&set, signal);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    UniqueFd fd{::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
    if (!fd) return os_error("signalfd");
    return fd;
}

void leave_session() {
    ::setsid();
    const UniqueFd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null.get(), fd);
}

Result<UniqueFd> open_monitor(const Monitor& monitor) {
    if (!monitor.path.empty()) return listen_unix(monitor.path);
    UniqueFd listener{monitor.listener < 0 ? -1 : ::fcntl(monitor.listener, F_DUPFD_CLOEXEC, 3)};
    if (!listener) return input_error("there is no monitor, or its descriptor is not open");
    ::close(monitor.listener);
    return listener;
}

class Adapter {
public:
    static Result<std::unique_ptr<Adapter>> create(const Plan& plan, UniqueFd listener);
    Result<void> start_vm();
    Result<int> serve();

private:
    Adapter(const Plan& plan, Poller poller) noexcept
        : plan_{plan}, poller_{std::move(poller)}, domain_{.plan = plan} {}
    void on_ready(std::uint64_t token);
    void on_vm_ended();

    const Plan& plan_;
    Poller poller_;
    UniqueFd signals_;
    Domain domain_;
    std::unique_ptr<control::Server> monitor_;
    std::unique_ptr<Console> console_;
    std::unique_ptr<Vm> vm_;
    std::optional<int> exit_status_;
};

Result<std::unique_ptr<Adapter>> Adapter::create(const Plan& plan, UniqueFd listener) {
    Poller poller = HF_TRY(Poller::create());
    std::unique_ptr<Adapter> adapter{new Adapter{plan, std::move(poller)}};
    adapter->signals_ = HF_TRY(ending_signals());
    HF_TRY(adapter->poller_.add(adapter->signals_, EPOLLIN, kSignal));
    adapter->monitor_ = HF_TRY(control::Server::create(
        std::move(listener), adapter->poller_, {.listener = kListener, .session = kSession},
        control::Answers{
            .greeting = greeting(),
            .answer = [domain = &adapter->domain_](std::string_view text, control::Session& session) {
                return answer(text, session, *domain);
            }}));
    return adapter;
}

Result<void> Adapter::start_vm() {
    if (plan_.console) {
        console_ = HF_TRY(Console::create(
            *plan_.console, poller_, {.guest = kGuest, .outside = kOutside, .listener = kConsoleListener}));
        domain_.console_name = console_->filename();
    }
    for (const int fd : plan_.unused_fds) ::close(fd);
    const UniqueFd none;
    vm_ = HF_TRY(Vm::start(plan_, console_ ? console_->guest_end() : none,
                           [this](std::string_view line) { monitor_->emit(line); }));
    if (console_) console_->guest_end().reset();
    if (plan_.tap >= 0) ::close(plan_.tap);
    domain_.vm = vm_.get();
    HF_TRY(poller_.add(vm_->control(), EPOLLIN, kControl));
    return poller_.add(vm_->ended(), EPOLLIN, kEnded);
}

Result<int> Adapter::serve() {
    while (!exit_status_) {
        std::array<epoll_event, 8> events;
        for (const epoll_event& event : HF_TRY(poller_.wait(events, -1))) on_ready(event.data.u64);
        if (domain_.quit && !exit_status_) exit_status_ = 0;
    }
    monitor_->drain(kLastWords);
    return *exit_status_;
}

void Adapter::on_ready(std::uint64_t token) {
    switch (token) {
        case kSignal: exit_status_ = 0; break;
        case kControl:
            if (vm_ && !vm_->on_readable()) (void)poller_.remove(vm_->control());
            break;
        case kEnded: on_vm_ended(); break;
        case kGuest:
        case kOutside:
        case kConsoleListener: console_->on_ready(token); break;
        default: monitor_->on_ready(token); break;
    }
}

// Its last events first: libvirt tells a shutdown from a crash by them.
void Adapter::on_vm_ended() {
    if (!vm_) return;
    vm_->read_to_end();
    (void)poller_.remove(vm_->ended());
    domain_.vm = nullptr;
    const int status = vm_->wait();
    vm_.reset();
    // With -no-shutdown libvirt asks once more, and then ends this process itself.
    if (status != 0 || !plan_.stay_after) exit_status_ = status;
}

// libvirt shows its user the end of the domain's log if the process is gone when the monitor ends, and else
// that it could not read or write. So another process keeps the monitor open until this one is gone.
void outlive(const UniqueFd& listener) {
    pollfd client{.fd = listener.get(), .events = POLLIN, .revents = 0};
    if (::poll(&client, 1, static_cast<int>(kLastWords.count())) <= 0) return;
    const pid_t self = ::getpid();
    if (::fork() != 0) return;
    leave_session();
    for (auto left = kLastWords; left.count() > 0 && ::kill(self, 0) == 0; --left) ::usleep(1000);
    ::_exit(0);
}

Result<void> write_pid(const std::string& path, pid_t pid) {
    const UniqueFd file{::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    if (!file) return os_error("open the pid file");
    const std::string text = std::to_string(pid) + '\n';
    return write_all(file, std::as_bytes(std::span{text}));
}

}  // namespace

Result<int> run_probe(const Plan& plan) {
    UniqueFd listener = HF_TRY(open_monitor(plan.monitor));
    // Before anything is polled: a signalfd in an epoll set goes on telling of the parent's signals.
    if (plan.daemonize) {
        const pid_t child = ::fork();
        if (child < 0) return os_error("fork");
        // The socket listens already: whoever sees this process end may connect.
        if (child > 0) {
            if (!plan.pid_file.empty()) HF_TRY(write_pid(plan.pid_file, child));
            ::_exit(0);
        }
        leave_session();
    }
    const auto adapter = HF_TRY(Adapter::create(plan, std::move(listener)));
    return adapter->serve();
}

Result<int> run_domain(const Plan& plan) {
    UniqueFd listener = HF_TRY(open_monitor(plan.monitor));
    const UniqueFd door{::fcntl(listener.get(), F_DUPFD_CLOEXEC, 3)};
    if (!door) return os_error("duplicate the monitor's descriptor");
    const auto adapter = HF_TRY(Adapter::create(plan, std::move(listener)));
    if (const auto started = adapter->start_vm(); !started) {
        outlive(door);
        return started.error();
    }
    return adapter->serve();
}

void outlive_monitor(std::span<const char* const> words) {
    for (std::size_t i = 1; i < words.size(); ++i) {
        if (std::string_view{words[i - 1]} != "-chardev") continue;
        auto fields = Fields::read(words[i], "backend");
        if (!fields || fields->take("server") != "on") continue;
        const auto fd = fd_of(fields->take("fd"));
        if (fd) return outlive(UniqueFd{*fd});
    }
}

}  // namespace holdfast::libvirt
