// SPDX-License-Identifier: Apache-2.0
#include "vmm/vcpu_thread.hpp"

#include <csignal>

#include <unistd.h>

#include "sys/log.hpp"
#include "sys/sandbox/policies.hpp"
#include "sys/sandbox/seccomp.hpp"
#include "sys/thread.hpp"

namespace holdfast::vmm {
namespace {

// The vCPU of this thread, for the signal handler. Set once, before the signal can come.
thread_local kvm::Vcpu* t_vcpu = nullptr;

int kick_signal() { return SIGRTMIN; }

// Only marks: a kick that lands before KVM_RUN makes it return at once (vmm-peers.md §5 item 22).
void on_kick(int) {
    if (t_vcpu != nullptr) t_vcpu->stop_soon();
}

void install_kick() {
    static const bool once = [] {
        struct sigaction action{};
        action.sa_handler = on_kick;
        return ::sigaction(kick_signal(), &action, nullptr) == 0;
    }();
    check(once, "install the vCPU kick signal");
}

}  // namespace

VcpuThread::VcpuThread(std::uint32_t index, kvm::Vcpu vcpu, Buses buses, VcpuEvents& events)
    : index_{index}, vcpu_{std::move(vcpu)}, buses_{buses}, events_{events} {
    install_kick();
    thread_ = named_thread("vcpu" + std::to_string(index_), [this] { body(); });
}

VcpuThread::~VcpuThread() {
    want(Want::Stop);
    thread_.join();
}

void VcpuThread::want(Want want) {
    {
        const std::lock_guard hold{lock_};
        want_ = want;
    }
    changed_.notify_all();
    if (want != Want::Run) ::pthread_kill(thread_.native_handle(), kick_signal());
}

void VcpuThread::resume() { want(Want::Run); }

void VcpuThread::pause() {
    want(Want::Pause);
    std::unique_lock hold{lock_};
    changed_.wait(hold, [this] { return !running_; });
}

void VcpuThread::body() noexcept {
    t_vcpu = &vcpu_;
    tid_ = ::gettid();
    std::unique_lock hold{lock_};
    while (true) {
        changed_.wait(hold, [this] { return want_ == Want::Stop || (want_ == Want::Run && !stuck_); });
        if (want_ == Want::Stop) break;
        running_ = true;
        hold.unlock();
        close_jail();
        run_until_wanted_otherwise();
        hold.lock();
        running_ = false;
        changed_.notify_all();
        if (want_ == Want::Pause) vcpu_.note_pause();
    }
    t_vcpu = nullptr;
}

/// A vCPU thread is hostile from its first guest instruction on. Not earlier: the process' own filter is
/// put on all threads at once, which fails where one has another filter already.
void VcpuThread::close_jail() noexcept {
    if (jailed_) return;
    jailed_ = true;
    if (const auto closed = sandbox::install(sandbox::policy::vmm_vcpu, sandbox::Scope::ThisThread);
        !closed) {
        log::error("vcpu.seccomp", closed.error());
        stuck_ = true;
        events_.guest_stuck("a vCPU thread could not be jailed", 0, 0);
    }
}

void VcpuThread::run_until_wanted_otherwise() noexcept {
    while (!stuck_) {
        // Down before looking: a kick after this line is seen by KVM_RUN, one before it by the load.
        vcpu_.clear_stop();
        if (want_.load() != Want::Run) return;
        if (!handle(vcpu_.run())) {
            stuck_ = true;
        }
    }
}

bool VcpuThread::handle(const kvm::Exit& exit) noexcept {
    switch (exit.kind) {
        case kvm::ExitKind::PortWrite:
            // A string instruction exits once for all its repetitions, at most a page of them.
            for (auto rest = exit.data; rest.size() >= exit.width && exit.width != 0;
                 rest = rest.subspan(exit.width)) {
                buses_.ports.write(exit.address, rest.first(exit.width));
            }
            return true;
        case kvm::ExitKind::PortRead:
            for (auto rest = exit.data; rest.size() >= exit.width && exit.width != 0;
                 rest = rest.subspan(exit.width)) {
                buses_.ports.read(exit.address, rest.first(exit.width));
            }
            return true;
        case kvm::ExitKind::MmioWrite: buses_.memory.write(exit.address, exit.data); return true;
        case kvm::ExitKind::MmioRead: buses_.memory.read(exit.address, exit.data); return true;
        case kvm::ExitKind::Interrupted: return true;
        case kvm::ExitKind::Shutdown: events_.guest_shut_down(); return false;
        case kvm::ExitKind::Unsupported:
            events_.guest_stuck(exit.reason, exit.detail, vcpu_.instruction_pointer());
            return false;
    }
    return false;
}

}  // namespace holdfast::vmm
