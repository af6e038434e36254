// SPDX-License-Identifier: Apache-2.0
// The heart of the anchor protocol alone: one counter, records, several instances of the anchor that
// an adversary runs side by side, crashes, and shows any authentic record. Sets of updates are bits.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "tests/model/explore.hpp"

namespace holdfast::model {

class CounterModel {
public:
    struct Rules {
        bool fence = true;               ///< each instance changes the counter's authValue at start
        int burns = 1;                   ///< increments without an update before serving
        int depth = 1;                   ///< records prepared ahead of the counter
        bool authenticated_read = true;  ///< the counter is read under that authValue
        int instances = 4;
        int updates = 2;             ///< by each instance
        bool one_at_a_time = false;  ///< an instance starts only when the one before is dead
    };

    enum class Phase : std::uint8_t { New, Fenced, Load, Burn, Run, Dead };
    struct Record {
        std::uint8_t number = 0;
        std::uint16_t updates = 0;
        friend auto operator<=>(const Record&, const Record&) = default;
    };
    struct Instance {
        Phase phase = Phase::New;
        std::uint8_t number = 0;
        std::uint16_t updates = 0;
        std::uint8_t burnt = 0;     ///< increments done, or while running: updates made
        std::uint8_t prepared = 0;  ///< records written beyond `number`
        std::array<std::uint16_t, 2> pending{};
    };
    static constexpr std::size_t kMaxInstances = 5;
    struct State {
        std::uint8_t counter = 0;
        std::int8_t holder = -1;
        std::uint16_t acknowledged = 0;
        std::array<Instance, kMaxInstances> instances{};
        std::vector<Record> records;

        void pack(std::vector<std::uint8_t>& out) const;
        static State unpack(std::span<const std::uint8_t> in);
    };

    explicit CounterModel(Rules rules) : rules_{rules} {}
    [[nodiscard]] State first() const;
    template <typename Emit>
    void successors(const State& state, Emit&& emit) const {
        for (int i = 0; i < rules_.instances; ++i) steps_of(state, i, emit);
    }

private:
    template <typename Emit>
    void steps_of(const State& state, int i, Emit&& emit) const;
    template <typename Emit>
    void load(const State& state, int i, Emit&& emit) const;
    template <typename Emit>
    void run(const State& state, int i, Emit&& emit) const;
    [[nodiscard]] static State with_record(State state, Record record);
    Rules rules_;
};

inline CounterModel::State CounterModel::first() const {
    State state;
    state.records = {{0, 0}};
    return state;
}

inline CounterModel::State CounterModel::with_record(State state, Record record) {
    const auto at = std::ranges::lower_bound(state.records, record);
    if (at == state.records.end() || *at != record) state.records.insert(at, record);
    return state;
}

template <typename Emit>
void CounterModel::steps_of(const State& state, int i, Emit&& emit) const {
    const auto index = static_cast<std::size_t>(i);
    const Instance& self = state.instances[index];
    const bool held = !rules_.fence || state.holder == i;
    State next = state;
    Instance& me = next.instances[index];
    if (self.phase == Phase::Dead) return;
    if (self.phase == Phase::New) {
        if (i > 0 && state.instances[index - 1].phase == Phase::New) return;
        if (i > 0 && rules_.one_at_a_time && state.instances[index - 1].phase != Phase::Dead) return;
        me.phase = Phase::Fenced;
        if (rules_.fence) next.holder = static_cast<std::int8_t>(i);
        emit(next, Step{i, "fence"}, false);
        return;
    }
    me = Instance{.phase = Phase::Dead};
    emit(next, Step{i, "crash"}, false);
    if (self.phase == Phase::Fenced) {
        if (rules_.authenticated_read && !held) return;  // refused: the same as a crash
        me = Instance{.phase = Phase::Load, .number = state.counter};
        emit(next, Step{i, "read", state.counter}, false);
    } else if (self.phase == Phase::Load) {
        load(state, i, emit);
    } else if (self.phase == Phase::Burn) {
        me = self;
        if (self.prepared == 0) {
            me.prepared = 1;
            const auto number = static_cast<std::uint8_t>(self.number + 1);
            emit(with_record(next, {number, self.updates}), Step{i, "write burn", number}, false);
        } else if (held) {
            ++next.counter;
            me.number = static_cast<std::uint8_t>(self.number + 1);
            me.burnt = static_cast<std::uint8_t>(self.burnt + 1);
            me.prepared = 0;
            const bool serves = me.burnt == rules_.burns;
            if (serves) {
                me.phase = Phase::Run;
                me.burnt = 0;
            }
            emit(next, Step{i, "increment, burn", next.counter},
                 serves && (state.acknowledged & ~self.updates) != 0);
        }
    } else {
        run(state, i, emit);
    }
}

template <typename Emit>
void CounterModel::load(const State& state, int i, Emit&& emit) const {
    const auto index = static_cast<std::size_t>(i);
    for (const Record& record : state.records) {
        if (record.number != state.instances[index].number) continue;
        State next = state;
        next.instances[index] = Instance{.phase = rules_.burns > 0 ? Phase::Burn : Phase::Run,
                                         .number = record.number,
                                         .updates = record.updates};
        emit(next, Step{i, "load updates", record.updates},
             rules_.burns == 0 && (state.acknowledged & ~record.updates) != 0);
    }
}

template <typename Emit>
void CounterModel::run(const State& state, int i, Emit&& emit) const {
    const auto index = static_cast<std::size_t>(i);
    const Instance& self = state.instances[index];
    if (self.burnt < rules_.updates && self.prepared < rules_.depth) {
        State next = state;
        Instance& me = next.instances[index];
        const std::uint16_t before = self.prepared > 0 ? self.pending[self.prepared - 1U] : self.updates;
        const auto after = static_cast<std::uint16_t>(before | 1U << (i * rules_.updates + self.burnt));
        const auto number = static_cast<std::uint8_t>(self.number + self.prepared + 1);
        me.pending[self.prepared] = after;
        ++me.prepared;
        ++me.burnt;
        emit(with_record(next, {number, after}), Step{i, "write", number}, false);
    }
    if (self.prepared > 0 && (!rules_.fence || state.holder == i)) {
        State next = state;
        Instance& me = next.instances[index];
        ++next.counter;
        next.acknowledged |= static_cast<std::uint16_t>(self.pending[0] & ~self.updates);
        me.number = static_cast<std::uint8_t>(self.number + 1);
        me.updates = self.pending[0];
        me.pending = {self.pending[1], 0};
        --me.prepared;
        emit(next, Step{i, "increment, acknowledge", next.counter}, (next.acknowledged & ~me.updates) != 0);
    }
}

inline void CounterModel::State::pack(std::vector<std::uint8_t>& out) const {
    out.clear();
    const auto put16 = [&](std::uint16_t value) {
        out.push_back(static_cast<std::uint8_t>(value));
        out.push_back(static_cast<std::uint8_t>(value >> 8U));
    };
    out.push_back(counter);
    out.push_back(static_cast<std::uint8_t>(holder));
    put16(acknowledged);
    for (const Instance& each : instances) {
        out.push_back(static_cast<std::uint8_t>(each.phase));
        out.push_back(each.number);
        put16(each.updates);
        out.push_back(each.burnt);
        out.push_back(each.prepared);
        for (const std::uint16_t pending : each.pending) put16(pending);
    }
    for (const Record& record : records) {
        out.push_back(record.number);
        put16(record.updates);
    }
}

inline CounterModel::State CounterModel::State::unpack(std::span<const std::uint8_t> in) {
    std::size_t at = 0;
    const auto get8 = [&] { return in[at++]; };
    const auto get16 = [&] {
        at += 2;
        return static_cast<std::uint16_t>(in[at - 2] | in[at - 1] << 8);
    };
    State state;
    state.counter = get8();
    state.holder = static_cast<std::int8_t>(get8());
    state.acknowledged = get16();
    for (Instance& each : state.instances) {
        each.phase = static_cast<Phase>(get8());
        each.number = get8();
        each.updates = get16();
        each.burnt = get8();
        each.prepared = get8();
        for (std::uint16_t& pending : each.pending) pending = get16();
    }
    while (at < in.size()) {
        const std::uint8_t number = get8();
        state.records.push_back({number, get16()});
    }
    return state;
}

}  // namespace holdfast::model
