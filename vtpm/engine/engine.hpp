// SPDX-License-Identifier: Apache-2.0
// libtpms as an object: power, commands, and the two blobs that are its memory (libtpms 0.9,
// TPMLIB_*(3)). It keeps them in memory only; who makes them durable asks for them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "sys/result.hpp"
#include "vtpm/state/blob.hpp"

namespace holdfast::vtpm {

/// At most one at a time in a process: libtpms is one global without locks. One thread at a time
/// calls in, but for cancel(), which any thread may call.
class Engine {
public:
    static Result<std::unique_ptr<Engine>> create();
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;
    ~Engine();

    /// The permanent state for the next power_on(). Only while off.
    void load(StateBlob permanent);
    /// Volatile state for the next power_on() alone: the TPM goes on as if it had never been off.
    void load_volatile(StateBlob state) { volatile_ = std::move(state); }
    /// What power_on() may do where no state was loaded.
    enum class Missing : std::uint8_t { Refuse, Manufacture };
    Result<void> power_on(Missing missing);
    void power_off();
    [[nodiscard]] bool is_on() const noexcept { return on_; }

    /// Runs one command (its bytes may be changed) at a locality. The response is valid until the
    /// next call; a TPM that is off answers TPM_RC_FAILURE.
    std::span<const std::byte> process(std::span<std::byte> command, std::uint8_t locality);
    /// Ends a key generation that is under way with TPM_RC_CANCELED.
    void cancel() noexcept;

    /// The permanent state has changed since saved() was called.
    [[nodiscard]] bool has_unsaved() const noexcept { return unsaved_; }
    [[nodiscard]] const StateBlob& permanent() const noexcept { return permanent_; }
    void saved() noexcept { unsaved_ = false; }
    /// What load_volatile() of another process takes. Only while on.
    Result<StateBlob> volatile_state();

    [[nodiscard]] bool established() const;
    /// At `locality`: only 3 and 4 may.
    Result<void> reset_established(std::uint8_t locality);
    Result<void> hash_start();
    Result<void> hash_data(std::span<const std::byte> bytes);
    Result<void> hash_end();

    struct BufferSize {
        std::uint32_t size = 0;
        std::uint32_t min = 0;
        std::uint32_t max = 0;
    };
    /// `wanted` 0 asks only; else it is cut to what is possible.
    BufferSize buffer_size(std::uint32_t wanted);

private:
    Engine() = default;
    friend struct Callbacks;
    StateBlob permanent_;
    StateBlob volatile_;
    bool on_ = false;
    bool unsaved_ = false;
    std::uint8_t locality_ = 0;
    std::atomic<bool> inside_ = false;
    unsigned char* response_ = nullptr;  // libtpms reallocates it
    std::uint32_t response_capacity_ = 0;
};

}  // namespace holdfast::vtpm
