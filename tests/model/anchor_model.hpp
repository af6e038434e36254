// SPDX-License-Identifier: Apache-2.0
// The whole anchor protocol (docs/anchor_model.md): two counters O and S, power cuts that make O jump,
// adoption of a checkpoint after a jump, vTPM workers that outlive the anchor, and a second copy of the
// VM. One VM; what is promised for it is promised for each, because a record holds the leaves of all.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <vector>

#include "tests/model/explore.hpp"

namespace holdfast::model {

/// A bit an update, or (from kGap on) one for each adoption of a checkpoint: a mark that verifiers see.
using Updates = std::uint16_t;
inline constexpr Updates kGap = 0x0100;
inline constexpr std::uint8_t kNobody = 0xff;

struct AnchorRules {
    // Switching off any of these must give a violation.
    bool fence = true;               ///< NV_ChangeAuth of both counters at start
    bool authenticated_read = true;  ///< both counters are read under the new authValues
    bool burn = true;                ///< increments before serving
    bool second_checkpoint = true;   ///< S moves twice at start: once to burn, once to checkpoint
    bool adoption_marks = true;      ///< adopting a checkpoint leaves a gap mark
    bool adoption_burns = true;      ///< ... and goes through the same increments
    bool adoption_commits_start =
        true;  ///< ... and the state that a worker starts from then is committed first
    bool adoption_needs_reset = true;   ///< ... and only if the TPM was reset since that checkpoint
    bool session_dies_with_tpm = true;  ///< a TPM reset ends the instance: no new session is opened
    bool commit_names_instance = true;  ///< a commit is taken from the worker that the leaf names only
    bool reattach_names_instance = true;
    bool reattach_proves_state = true;  ///< version and digest of what the worker holds
    bool reattach_reads = true;         ///< an authenticated read before a worker is told to go on

    bool adopt_checkpoints = true;  ///< policy "bounded"; else a jump without a record stays refused
    int anchors = 3;
    int workers = 2;
    int updates = 2;            ///< by each worker
    int cuts = 1;               ///< power cuts and resets of the TPM alone
    std::uint8_t low_bits = 1;  ///< what O's jump sets (255 in a TPM)
};

class AnchorModel {
public:
    struct Record {
        std::uint8_t o = 0;
        std::uint8_t s = 0;     ///< a checkpoint's own number, else 0
        std::uint8_t cuts = 0;  ///< the TPM's resetCount when it was written
        std::uint8_t running = kNobody;
        bool unnamed =
            false;  ///< since an adoption, the leaf names no state: any authentic one after it starts
        Updates updates = 0;
        friend auto operator<=>(const Record&, const Record&) = default;
    };
    enum class Phase : std::uint8_t {
        New,
        FencedO,
        Fenced,
        ReadO,
        Load,    ///< both counters read
        Start,   ///< a record is loaded; first pair of increments
        Start2,  ///< second pair
        Serve,
        Answer,  ///< committed; the reply has not been sent
        Dead
    };
    /// Inside a phase that writes a record and moves counters: what is done already.
    enum class Done : std::uint8_t { Nothing, Written, MovedO };
    struct Anchor {
        Phase phase = Phase::New;
        Done done = Done::Nothing;
        bool session = true;  ///< false: the TPM was reset since; it notices at its next command
        std::uint8_t cuts = 0;
        std::uint8_t o = 0;
        std::uint8_t s = 0;
        std::uint8_t running = kNobody;
        bool unnamed = false;
        Updates updates = 0;
        // The commit in flight, while done is not Nothing or the phase is Answer:
        bool checkpoint = false;
        std::uint8_t worker = kNobody;
        std::uint8_t next_running = kNobody;
        Updates next_updates = 0;
    };
    enum class Life : std::uint8_t { None, Waiting, Running, Dead };
    struct Worker {
        Life life = Life::None;  ///< Waiting: a commit is on its way
        std::uint8_t anchor = kNobody;
        std::uint8_t made = 0;  ///< updates begun
        Updates memory = 0;     ///< what its replies have shown
        Updates pending = 0;    ///< the update whose reply is withheld
        bool strict = false;    ///< the pending one is answered after S moved
    };
    static constexpr std::size_t kMaxAnchors = 5;
    static constexpr std::size_t kMaxWorkers = 3;
    struct State {
        std::uint8_t o = 0;
        std::uint8_t s = 0;
        std::uint8_t holder_o = kNobody;
        std::uint8_t holder_s = kNobody;
        std::uint8_t cuts = 0;
        Updates seen = 0;    ///< committed for a guest, or shown by a vTPM that was let go on
        Updates strict = 0;  ///< acknowledged behind a checkpoint
        std::array<Anchor, kMaxAnchors> anchors{};
        std::array<Worker, kMaxWorkers> workers{};
        std::vector<Record> records;

        void pack(std::vector<std::uint8_t>& out) const;
        static State unpack(std::span<const std::uint8_t> in);
    };
    using Emit = std::function<void(const State&, const Step&, bool)>;

    explicit AnchorModel(AnchorRules rules) : rules_{rules} {}
    [[nodiscard]] static State first();
    void successors(const State& state, const Emit& emit) const;

private:
    void cut_power(const State& state, const Emit& emit) const;
    void anchor_steps(const State& state, std::uint8_t i, const Emit& emit) const;
    void open(const State& state, std::uint8_t i, const Emit& emit) const;
    void load(const State& state, std::uint8_t i, const Emit& emit) const;
    void commit(const State& state, std::uint8_t i, const Emit& emit) const;
    void committed(State next, std::uint8_t i, const Step& step, const Emit& emit) const;
    void start_uncommitted(const State& state, std::uint8_t i, const Step& step, const Emit& emit) const;
    void answer(const State& state, std::uint8_t i, const Emit& emit) const;
    void worker_steps(const State& state, std::uint8_t w, const Emit& emit) const;
    void start_worker(const State& state, std::uint8_t w, std::uint8_t i, const Emit& emit) const;
    [[nodiscard]] std::vector<Updates> on_disk(const State& state, const Anchor& anchor) const;
    void send(const State& state, std::uint8_t w, const Emit& emit) const;
    void reattach(const State& state, std::uint8_t w, std::uint8_t i, const Emit& emit) const;
    [[nodiscard]] bool may_use(const State& state, std::uint8_t holder, std::uint8_t i) const;

    AnchorRules rules_;
};

}  // namespace holdfast::model
