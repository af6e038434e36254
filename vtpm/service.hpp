// SPDX-License-Identifier: Apache-2.0
// One vTPM: the engine, its state, and the gate between them and whoever waits for a reply. Both
// threads (control channel, data channel) call it.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sys/fd.hpp"
#include "sys/rate.hpp"
#include "sys/thread.hpp"
#include "vtpm/channel/spec.hpp"
#include "vtpm/engine/engine.hpp"
#include "vtpm/quote.hpp"
#include "vtpm/start.hpp"
#include "vtpm/state/keeper.hpp"

namespace holdfast::vtpm {

class Service {
public:
    /// Borrowed references outlive the service.
    Service(Engine& engine, Keeper& keeper, Start start);

    /// Before the first client. What is wrong with the state is found here, and nothing is written.
    Result<void> prepare();

    // Each answers `to` and returns; an error means the client cannot be served any longer. All of
    // them lock, and leave through release().
    Result<void> run_command(const UniqueFd& to, std::span<std::byte> command);
    Result<void> refuse_command(const UniqueFd& to, std::uint32_t code);
    Result<void> capability(const UniqueFd& to);
    Result<void> init(const UniqueFd& to);
    Result<void> stop(const UniqueFd& to);
    Result<void> established(const UniqueFd& to);
    Result<void> reset_established(const UniqueFd& to, std::uint8_t locality);
    Result<void> set_locality(const UniqueFd& to, std::uint8_t locality);
    Result<void> hash_start(const UniqueFd& to);
    Result<void> hash_data(const UniqueFd& to, std::span<const std::byte> bytes);
    Result<void> hash_end(const UniqueFd& to);
    Result<void> get_blob(const UniqueFd& to, std::uint32_t type, std::uint32_t offset);
    Result<void> set_blob(const UniqueFd& to, std::uint32_t type, std::span<const std::byte> sealed);
    Result<void> buffer_size(const UniqueFd& to, std::uint32_t wanted);
    Result<void> config(const UniqueFd& to);
    Result<void> lock_storage(const UniqueFd& to, std::uint32_t retries);
    /// Does not lock and does not pass the gate: it would wait for the very command that is to be
    /// cancelled, and its answer speaks of no state.
    Result<void> cancel_command(const UniqueFd& to);
    /// A result and nothing else.
    Result<void> answer(const UniqueFd& to, std::uint32_t result);

    /// For the host and not for the client: between two of the guest's commands. Passes the gate as a reply
    /// does.
    Result<OwnQuote> quote(std::span<const std::byte> nonce);

    /// Whether idle() has something to do once no command has come for a moment.
    [[nodiscard]] bool wants_idle() const noexcept { return da_open_.load(std::memory_order_relaxed); }
    Result<void> idle();
    /// Switches the TPM off in an orderly way, for a client that has left. The next one starts afresh.
    Result<void> client_gone();
    /// Does not lock: for a command that is under way.
    void cancel() noexcept { engine_.cancel(); }
    /// The state could not be made durable: memory is ahead of it, and the process must end.
    [[nodiscard]] std::optional<Error> fatal() const;

private:
    /// The one way out. A reply leaves when the state it speaks of is durable, and not before; if that is put
    /// off, `instead` leaves, which speaks of none.
    Result<void> release(const UniqueFd& to, std::span<const std::byte> reply,
                         std::span<const std::byte> instead) HF_REQUIRES(mutex_);
    Result<void> release(const UniqueFd& to, std::span<const std::byte> reply) HF_REQUIRES(mutex_);
    Result<void> release(const UniqueFd& to, std::uint32_t result) HF_REQUIRES(mutex_);
    Result<void> release_response(const UniqueFd& to, std::span<const std::byte> response)
        HF_REQUIRES(mutex_);
    Result<Outcome> settle() HF_REQUIRES(mutex_);
    Result<Outcome> store() HF_REQUIRES(mutex_);
    template <typename T>
    Result<T> or_fatal(Result<T> done) HF_REQUIRES(mutex_);
    Result<bool> may_store() HF_REQUIRES(mutex_);
    Result<bool> take_state() HF_REQUIRES(mutex_);
    Result<bool> come_back() HF_REQUIRES(mutex_);
    Result<void> switch_on() HF_REQUIRES(mutex_);
    Result<void> switch_off() HF_REQUIRES(mutex_);
    void orderly_shutdown() HF_REQUIRES(mutex_);
    Result<std::span<const std::byte>> process(std::span<std::byte> command) HF_REQUIRES(mutex_);
    Result<std::vector<std::byte>> export_blob(channel::BlobType type) HF_REQUIRES(mutex_);

    mutable Mutex mutex_;
    Engine& engine_;
    Keeper& keeper_;
    Start start_;
    std::optional<Error> fatal_ HF_GUARDED_BY(mutex_);
    std::uint8_t locality_ HF_GUARDED_BY(mutex_) = 0;
    bool shut_down_ HF_GUARDED_BY(mutex_) = false;  // the guest's last command was TPM2_Shutdown
    bool failed_ HF_GUARDED_BY(mutex_) = false;     // failure mode was reported
    bool exported_ HF_GUARDED_BY(mutex_) = false;   // the state was handed to a migration
    std::optional<std::uint64_t> imported_ HF_GUARDED_BY(mutex_);  // the version a migration speaks of
    std::optional<Sealer::Opened> volatile_ HF_GUARDED_BY(mutex_);
    std::vector<std::byte> outcome_ HF_GUARDED_BY(mutex_);  // of a command that another followed
    TokenBucket stores_ HF_GUARDED_BY(mutex_);
    TokenBucket da_closes_ HF_GUARDED_BY(mutex_);
    // The state on disk says that something that dictionary attack protection counts is in use.
    std::atomic<bool> da_open_ = false;
};

}  // namespace holdfast::vtpm
