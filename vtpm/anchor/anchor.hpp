// SPDX-License-Identifier: Apache-2.0
// The protocol: fence, read, load, burn, checkpoint; then one record and one increment for each batch of
// changes (docs/anchor.md; explored in docs/anchor_model.md). No sockets and no time in here: whoever
// owns it calls commit() with what arrived while the last call ran.
#pragma once

#include <memory>

#include "sys/secret.hpp"
#include "vtpm/anchor/counters.hpp"
#include "vtpm/anchor/ledger.hpp"
#include "vtpm/anchor/log_files.hpp"

namespace holdfast::anchor {

enum class OnPowerLoss : std::uint8_t {
    Refuse,
    Adopt,  ///< fall back to the last checkpoint, with a gap in every leaf for verifiers to see
};

enum class Strength : std::uint8_t {
    Ordinary,  ///< survives everything but a power cut, which is seen
    Strict,    ///< survives that too: costs the TPM a flash write
};

/// One life of the anchor. One thread. After any error it is dead: every later call says so, and only a
/// new one, which fences this one out, may serve again.
class Anchor {
public:
    struct Setup {
        LogFiles& files;
        Counters& counters;
        const SecretBytes& key;  ///< K_A
        OnPowerLoss on_power_loss = OnPowerLoss::Refuse;
    };
    /// The order of steps is the promise. All of `setup` outlives the anchor.
    static std::expected<std::unique_ptr<Anchor>, Refusal> open(const Setup& setup);
    /// The first record of a new anchor whose counters read `at`. Once, at init.
    static Result<void> found(const Setup& setup, const Reading& at);

    [[nodiscard]] const Ledger& ledger() const noexcept { return ledger_; }
    [[nodiscard]] const Reading& counters() const noexcept { return at_; }
    [[nodiscard]] const InstanceId& instance() const noexcept { return instance_; }
    [[nodiscard]] bool is_dead() const noexcept { return dead_; }
    [[nodiscard]] bool adopted() const noexcept { return adopted_; }
    /// What killed it, once it is dead.
    [[nodiscard]] Refused cause() const noexcept {
        return tpm_failed_ ? Refused::TpmUnreachable : Refused::Disk;
    }

    /// When this returns, the leaves are the newest state there is: replies may go out.
    Result<void> commit(std::span<const Leaf> changes, Strength strength);
    /// Nobody has taken over: before a worker that comes back is told to go on, and as a heartbeat.
    Result<void> confirm();

private:
    Anchor(const Setup& setup, Found found, Reading at, std::uint32_t file);
    static std::expected<std::unique_ptr<Anchor>, Refusal> load(const Setup& setup, const Reading& at);
    Result<void> begin_file(std::span<const Leaf> changes);
    Result<void> write(const Record& record);
    Result<void> advance(Strength strength);
    [[nodiscard]] Record next_record(Strength strength) const;
    template <typename T>
    Result<T> died(Result<T> result);
    template <typename T>
    Result<T> tpm_said(Result<T> result);

    LogFiles& files_;
    Counters& counters_;
    const SecretBytes& key_;
    Ledger ledger_;
    Reading at_;
    InstanceId instance_{};
    Digest hash_{};           ///< of the newest record
    std::uint32_t file_ = 0;  ///< the one that holds it
    std::uint64_t file_bytes_ = 0;
    bool adopted_ = false;
    bool dead_ = false;
    bool tpm_failed_ = false;
};

}  // namespace holdfast::anchor
