// SPDX-License-Identifier: Apache-2.0
#include "vmm/tpm/tpm.hpp"

#include <algorithm>

#include "sys/log.hpp"
#include "sys/thread.hpp"
#include "vtpm/tpm2/command.hpp"

namespace holdfast::tpm {
namespace {

namespace channel = vtpm::channel;

enum class Token : std::uint64_t { Wake, Data };
constexpr std::uint64_t number(Token token) { return static_cast<std::uint64_t>(token); }

static_assert(kCrbBufferSize == channel::kMaxTpmBuffer);

bool is_measured(std::uint16_t alg) {
    return std::ranges::any_of(eventlog::kBanks,
                               [alg](tpm2::Alg bank) { return static_cast<std::uint16_t>(bank) == alg; });
}

}  // namespace

Tpm::Tpm(channel::Client client, Mapping buffer, EventFd wake, Poller poller) noexcept
    : client_{std::move(client)},
      buffer_{std::move(buffer)},
      crb_{buffer_.bytes(), *this},
      wake_{std::move(wake)},
      poller_{std::move(poller)} {}

Result<std::unique_ptr<Tpm>> Tpm::create(UniqueFd control, UniqueFd data) {
    Mapping buffer = HF_TRY(Mapping::anonymous(kCrbBufferSize));
    std::unique_ptr<Tpm> tpm{new Tpm{channel::Client{std::move(control), std::move(data)}, std::move(buffer),
                                     HF_TRY(EventFd::create()), HF_TRY(Poller::create())}};
    HF_TRY(tpm->poller_.add(tpm->wake_.fd(), EPOLLIN, number(Token::Wake)));
    HF_TRY(tpm->poller_.add(tpm->client_.data(), EPOLLIN, number(Token::Data)));
    return tpm;
}

Tpm::~Tpm() {
    if (!thread_.joinable()) return;
    quit_ = true;
    wake_.signal();
    thread_.join();
}

// Firmware

Result<void> Tpm::power_on(std::span<const eventlog::Event> events) {
    HF_TRY(reset());
    if (!HF_TRY(allocate_banks())) {
        log::info("tpm.banks_allocated");
        HF_TRY(reset());
        if (!HF_TRY(allocate_banks())) return peer_fault("the vTPM does not keep to its PCR banks");
    }
    for (const eventlog::Event& event : events) {
        HF_TRY(demand(tpm2::pcr_extend(event.pcr, event.digests), "the vTPM does not extend a PCR"));
    }
    // Linux gives it two seconds in all, and a host on which several guests start may need more.
    HF_TRY(demand(tpm2::self_test(), "the vTPM does not pass its self-test"));
    HF_TRY(demand(tpm2::disable_platform_hierarchy(), "the vTPM does not shut its platform hierarchy"));
    return {};
}

Result<tpm2::Response> Tpm::demand(const tpm2::Message& command, const char* what) {
    return tpm2::expect_success(HF_TRY(client_.transact(command)), what);
}

/// Also after a reboot of the guest, when the vTPM still has a command of the VMM before this one.
Result<void> Tpm::reset() {
    HF_TRY(client_.stop());
    if (HF_TRY(client_.set_buffer_size(kCrbBufferSize)) != kCrbBufferSize) {
        return peer_fault("the vTPM has a smaller buffer than the device");
    }
    // Not right behind stop(): swtpm answers a command that it had not read by then only after that.
    HF_TRY(client_.discard_stale());
    HF_TRY(client_.init());
    HF_TRY(client_.set_locality(0));
    HF_TRY(demand(tpm2::startup(tpm2::Su::CLEAR), "the vTPM does not start up"));
    return {};
}

/// True if exactly the banks that we measure into are active; else asks for that, from the next reset on. In
/// any other active bank the guest could forge a boot. A TPM keeps its banks, so this happens to a new one
/// once.
Result<bool> Tpm::allocate_banks() {
    const auto answer = HF_TRY(demand(tpm2::get_pcr_banks(), "the vTPM does not tell its PCR banks"));
    auto banks = HF_TRY(tpm2::parse_pcr_banks(answer.body));
    for (const tpm2::Alg alg : eventlog::kBanks) {
        if (std::ranges::find(banks, static_cast<std::uint16_t>(alg), &tpm2::PcrBank::alg) == banks.end()) {
            return peer_fault("the vTPM lacks a PCR bank");
        }
    }
    bool right = true;
    for (tpm2::PcrBank& bank : banks) {
        const std::uint32_t wanted = is_measured(bank.alg) ? tpm2::kAllPcrs : 0;
        right = right && bank.pcrs == wanted;
        bank.pcrs = wanted;
    }
    if (right) return true;
    const auto done = HF_TRY(demand(tpm2::pcr_allocate(banks), "the vTPM does not change its PCR banks"));
    if (!HF_TRY(tpm2::parse_pcr_allocate(done))) return peer_fault("the vTPM has no room for its PCR banks");
    return false;
}

// vCPU threads

void Tpm::command_started() noexcept {
    started_ = true;
    wake_.signal();
}

void Tpm::cancel_requested() noexcept {
    cancel_ = true;
    wake_.signal();
}

// The thread

void Tpm::start() {
    thread_ = named_thread("tpm", [this] { loop(); });
}

void Tpm::loop() noexcept {
    std::array<epoll_event, 2> ready{};
    while (!quit_) {
        const auto events = poller_.wait(ready, -1);
        if (!events) return lose(events.error());
        for (const epoll_event& event : *events) {
            const bool wake = event.data.u64 == number(Token::Wake);
            if (const auto done = wake ? on_wake() : on_data(); !done) lose(done.error());
        }
    }
    if (lost_) return;
    if (const auto finished = client_.finish(); !finished) log::warn("tpm.not_finished", finished.error());
}

Result<void> Tpm::on_wake() {
    wake_.drain();
    if (started_.exchange(false)) HF_TRY(execute());
    if (cancel_.exchange(false) && busy_) HF_TRY(client_.request_cancel());
    return {};
}

/// Judges the one copy of what the guest wrote. The vTPM judges all but its size.
Result<void> Tpm::execute() {
    if (lost_) return {};
    channel::Buffer command;
    crb_.take_command(command);
    const auto header = HF_TRY(tpm2::parse_header(command));
    if (header.size < tpm2::kHeaderBytes || header.size > command.size()) {
        complete(tpm2::bare_response(tpm2::rc::COMMAND_SIZE));
        return {};
    }
    busy_ = true;
    return client_.send(std::span{command}.first(header.size));
}

Result<void> Tpm::on_data() {
    const auto response = HF_TRY(client_.receive());
    if (!busy_) return peer_fault("the vTPM answers what nobody asked");
    if (!response) return {};
    busy_ = false;
    complete(*response);
    return {};
}

void Tpm::complete(std::span<const std::byte> response) noexcept {
    cancel_ = false;  // what was asked for until now was for this command
    crb_.complete(response);
}

/// One line for whoever looks after the VM; the guest sees a TPM with a fatal error from now on.
void Tpm::lose(const Error& error) noexcept {
    if (lost_) return;
    lost_ = true;
    busy_ = false;
    log::error("tpm.lost", error);
    [[maybe_unused]] const auto removed = poller_.remove(client_.data());
    crb_.fail(tpm2::bare_response(tpm2::rc::FAILURE));
}

}  // namespace holdfast::tpm
