// SPDX-License-Identifier: Apache-2.0
#include "libvirt/vm.hpp"

#include <array>
#include <cerrno>
#include <csignal>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libvirt/environment.hpp"
#include "libvirt/json.hpp"
#include "sys/log.hpp"
#include "sys/socket.hpp"

namespace holdfast::libvirt {
namespace {

using Clock = std::chrono::steady_clock;

// A VMM answers at once. One that does not is no use to libvirt either, which waits without an end.
constexpr std::chrono::seconds kPatience{30};
constexpr std::chrono::seconds kGrace{8};
constexpr std::size_t kMaxMessage = 1 << 20;

// Where the adapter's own program is: `holdfast` is beside it.
std::string beside(const char* program) {
    std::array<char, 4096> path;
    const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
    const std::string_view self{path.data(), static_cast<std::size_t>(size > 0 ? size : 0)};
    return std::string{self.substr(0, self.rfind('/') + 1)} + program;
}

bool readable(const UniqueFd& fd, Clock::time_point deadline) {
    while (true) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
        pollfd wait{.fd = fd.get(), .events = POLLIN, .revents = 0};
        const int ready = ::poll(&wait, 1, left.count() > 0 ? static_cast<int>(left.count()) : 0);
        if (ready < 0 && errno == EINTR) continue;
        return ready > 0;
    }
}

// The report that `run --report-fd` writes; empty if it ended without one.
std::string read_report(const UniqueFd& socket) {
    std::string report;
    std::array<char, 4096> part;
    while (report.size() < kMaxMessage) {
        const ssize_t got = ::read(socket.get(), part.data(), part.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        report.append(part.data(), static_cast<std::size_t>(got));
    }
    return report;
}

}  // namespace

Result<std::unique_ptr<Vm>> Vm::start(const Plan& plan, const UniqueFd& console, OnEvent on_event) {
    auto [ours, theirs] = HF_TRY(socket_pair(SOCK_STREAM));
    std::vector<std::string> words;
    if (!plan.state_dir.empty()) words = {"--state-dir", plan.state_dir};
    else if (::geteuid() != 0 && ::access(kStateDir, W_OK) == 0) words = {"--state-dir", kStateDir};
    words.insert(words.end(), {"run", plan.name, "--report-fd", std::to_string(kHandoverFd)});
    if (plan.paused) words.emplace_back("--paused");
    words.insert(words.end(), plan.run.begin(), plan.run.end());
    Child::Stdio stdio{.extra = plan.tap};
    if (console) stdio.in = stdio.out = console.get();
    auto child = HF_TRY(Child::start(beside("holdfast"), words, theirs, stdio));
    theirs.reset();
    std::unique_ptr<Vm> vm{new Vm{std::move(child), std::move(on_event)}};
    const auto report = parse_object(read_report(ours));
    const std::string socket = report ? text_of(*report, "qmp_socket") : std::string{};
    if (socket.empty()) return input_error("the VM was not started (see above)");
    HF_TRY(vm->connect(socket));
    return vm;
}

Vm::~Vm() {
    if (child_.pid() < 0) return;
    end();
    // Destroying the child kills what has not ended by then.
    [[maybe_unused]] const bool ended = readable(child_.pidfd(), Clock::now() + kGrace);
}

void Vm::end() noexcept { child_.kill(SIGTERM); }

int Vm::wait() {
    const auto ending = child_.wait();
    return ending && !ending->signalled ? ending->value : 1;
}

Result<void> Vm::connect(const std::string& socket) {
    control_ = HF_TRY(connect_unix(socket));
    const auto greeting = HF_TRY(next(Clock::now() + kPatience));
    if (!greeting.contains("QMP")) return peer_fault("the VM's control socket does not greet");
    const auto answer = HF_TRY(ask("qmp_capabilities"));
    if (!answer.contains("return")) return peer_fault("the VM's control socket does not negotiate");
    return {};
}

Result<nlohmann::json> Vm::ask(std::string_view command) {
    const std::string text = one_line({{"execute", command}}) + '\n';
    HF_TRY(write_all(control_, std::as_bytes(std::span{text})));
    auto answer = HF_TRY(next_answer(Clock::now() + kPatience));
    // What came in one piece with the answer makes nothing readable any more.
    tell_events();
    return answer;
}

bool Vm::on_readable() {
    // It may have been read since by ask(): this must not wait.
    const bool open = !readable(control_, Clock::now()) || receive();
    tell_events();
    return open;
}

void Vm::read_to_end() {
    const auto deadline = Clock::now() + kGrace;
    do tell_events();
    while (readable(control_, deadline) && receive());
}

void Vm::tell_events() {
    std::string line;
    while (take_line(line)) {
        const auto message = parse_object(line);
        if (message && message->contains("event")) on_event_(one_line(*message) + "\r\n");
    }
}

bool Vm::take_line(std::string& line) {
    const auto end = received_.find('\n');
    if (end == std::string::npos) return false;
    line = received_.substr(0, end);
    received_.erase(0, end + 1);
    return true;
}

Result<void> Vm::receive() {
    if (received_.size() > kMaxMessage) return peer_fault("the VM's message has no end");
    std::array<char, 4096> part;
    const ssize_t got = ::recv(control_.get(), part.data(), part.size(), 0);
    if (got < 0 && errno == EINTR) return {};
    if (got <= 0) return peer_fault("the VM has closed its control socket");
    received_.append(part.data(), static_cast<std::size_t>(got));
    return {};
}

Result<nlohmann::json> Vm::next(Clock::time_point deadline) {
    std::string line;
    while (!take_line(line)) {
        if (!readable(control_, deadline)) return peer_fault("the VM does not answer");
        HF_TRY(receive());
    }
    auto message = parse_object(line);
    if (!message) return peer_fault("the VM's answer is not a JSON object");
    return std::move(*message);
}

Result<nlohmann::json> Vm::next_answer(Clock::time_point deadline) {
    while (true) {
        auto message = HF_TRY(next(deadline));
        if (!message.contains("event")) return message;
        on_event_(one_line(message) + "\r\n");
    }
}

}  // namespace holdfast::libvirt
