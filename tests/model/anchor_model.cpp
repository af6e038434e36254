// SPDX-License-Identifier: Apache-2.0
#include "tests/model/anchor_model.hpp"

namespace holdfast::model {
namespace {

using State = AnchorModel::State;

void add_record(State& state, const AnchorModel::Record& record) {
    const auto at = std::ranges::lower_bound(state.records, record);
    if (at == state.records.end() || *at != record) state.records.insert(at, record);
}

bool is_alive(const AnchorModel::Anchor& anchor) {
    return anchor.phase != AnchorModel::Phase::New && anchor.phase != AnchorModel::Phase::Dead;
}

/// A vTPM shows `updates` to its guest. True if the promise is broken: something is missing that was
/// acknowledged, without a gap mark that is new; or something that was acknowledged strictly.
bool show(State& state, Updates updates) {
    const auto lost = static_cast<Updates>(state.seen & ~updates);
    const bool new_gap = (updates & ~state.seen & ~(kGap - 1)) != 0;
    const bool broken = (lost != 0 && !new_gap) || (state.strict & ~updates) != 0;
    state.seen = lost != 0 ? updates : static_cast<Updates>(state.seen | updates);
    return broken;
}

}  // namespace

State AnchorModel::first() {
    State state;
    state.records = {{.o = 0, .s = 1}};
    state.s = 1;  // a checkpoint's number is never 0
    return state;
}

void AnchorModel::successors(const State& state, const Emit& emit) const {
    cut_power(state, emit);
    for (std::uint8_t i = 0; i < rules_.anchors; ++i) anchor_steps(state, i, emit);
    for (std::uint8_t w = 0; w < rules_.workers; ++w) worker_steps(state, w, emit);
}

/// The host loses its power, or only the TPM is reset, under the eyes of everybody who uses it.
void AnchorModel::cut_power(const State& state, const Emit& emit) const {
    if (state.cuts == rules_.cuts) return;
    State next = state;
    ++next.cuts;
    for (Anchor& each : next.anchors) {
        if (is_alive(each)) each.session = !rules_.session_dies_with_tpm;
    }
    const auto jump = static_cast<std::uint8_t>(state.o | rules_.low_bits);
    next.o = jump;
    emit(next, Step{0, "TPM reset, O reads", next.o}, false);
    for (Anchor& each : next.anchors) {
        if (is_alive(each)) each = Anchor{.phase = Phase::Dead};
    }
    for (Worker& each : next.workers) {
        if (each.life != Life::None) each = Worker{.life = Life::Dead};
    }
    emit(next, Step{0, "power cut, O reads", next.o}, false);
    next.o = state.o;
    if (jump != state.o) emit(next, Step{0, "orderly restart of the host"}, false);
}

bool AnchorModel::may_use(const State& state, std::uint8_t holder, std::uint8_t i) const {
    return state.anchors[i].session && (!rules_.fence || holder == i);
}

void AnchorModel::anchor_steps(const State& state, std::uint8_t i, const Emit& emit) const {
    const Anchor& self = state.anchors[i];
    if (self.phase == Phase::Dead) return;
    if (self.phase == Phase::New && i > 0 && state.anchors[i - 1U].phase == Phase::New) return;
    if (self.phase != Phase::New) {
        State next = state;
        next.anchors[i] = Anchor{.phase = Phase::Dead};
        emit(next, Step{i, "anchor crashes"}, false);
    }
    switch (self.phase) {
        case Phase::New:
        case Phase::FencedO:
        case Phase::Fenced:
        case Phase::ReadO: return open(state, i, emit);
        case Phase::Load: return load(state, i, emit);
        case Phase::Start:
        case Phase::Start2: return commit(state, i, emit);
        case Phase::Serve:
            if (self.worker != kNobody) commit(state, i, emit);
            return;
        case Phase::Answer: return answer(state, i, emit);
        case Phase::Dead: return;
    }
}

/// Fence both counters, then read both.
void AnchorModel::open(const State& state, std::uint8_t i, const Emit& emit) const {
    State next = state;
    Anchor& me = next.anchors[i];
    switch (state.anchors[i].phase) {
        case Phase::New:
            me.phase = Phase::FencedO;
            me.cuts = state.cuts;
            if (rules_.fence) next.holder_o = i;
            return emit(next, Step{i, "fences O"}, false);
        case Phase::FencedO:
            if (!state.anchors[i].session) return;
            me.phase = Phase::Fenced;
            if (rules_.fence) next.holder_s = i;
            return emit(next, Step{i, "fences S"}, false);
        case Phase::Fenced:
            if (rules_.authenticated_read && !may_use(state, state.holder_o, i))
                return;  // refused: as a crash
            me.phase = Phase::ReadO;
            me.o = state.o;
            return emit(next, Step{i, "reads O", state.o}, false);
        default:
            if (rules_.authenticated_read && !may_use(state, state.holder_s, i)) return;
            me.phase = Phase::Load;
            me.s = state.s;
            return emit(next, Step{i, "reads S", state.s}, false);
    }
}

/// The adversary shows any authentic record. It may also hide the one that fits.
void AnchorModel::load(const State& state, std::uint8_t i, const Emit& emit) const {
    const Anchor& self = state.anchors[i];
    const bool jumped = (self.o & rules_.low_bits) == rules_.low_bits;
    for (const Record& record : state.records) {
        State next = state;
        Anchor& me = next.anchors[i];
        me.phase = rules_.burn ? Phase::Start : Phase::Serve;
        me.running = record.running;
        me.unnamed = record.unnamed;
        me.updates = record.updates;
        if (record.o == self.o) emit(next, Step{i, "loads updates", record.updates}, false);
        if (!rules_.adopt_checkpoints || !jumped || record.s != self.s) continue;
        if (rules_.adoption_needs_reset && record.cuts >= self.cuts) continue;
        if (rules_.adoption_marks) me.updates |= static_cast<Updates>(kGap << i);
        me.running = kNobody;
        me.unnamed = true;
        if (!rules_.adoption_burns) me.phase = Phase::Serve;
        emit(next, Step{i, "adopts the checkpoint with updates", record.updates}, false);
    }
}

/// Write the record, move O, and if it is a checkpoint move S.
void AnchorModel::commit(const State& state, std::uint8_t i, const Emit& emit) const {
    const Anchor& self = state.anchors[i];
    const bool starting = self.phase != Phase::Serve;
    const bool checkpoint = starting || self.checkpoint;
    State next = state;
    Anchor& me = next.anchors[i];
    if (self.done == Done::Nothing) {
        me.done = Done::Written;
        const Record record{.o = static_cast<std::uint8_t>(self.o + 1),
                            .s = static_cast<std::uint8_t>(checkpoint ? self.s + 1 : 0),
                            .cuts = self.cuts,
                            .running = starting ? self.running : self.next_running,
                            .unnamed = self.unnamed && (starting || !rules_.adoption_commits_start),
                            .updates = starting ? self.updates : self.next_updates};
        add_record(next, record);
        emit(next, Step{i, checkpoint ? "writes checkpoint" : "writes record", record.o}, false);
    } else if (self.done == Done::Written) {
        if (!may_use(state, state.holder_o, i)) return;  // refused: as a crash
        ++next.o;
        ++me.o;
        me.done = Done::MovedO;
        const Step step{i, "increments O", next.o};
        checkpoint ? emit(next, step, false) : committed(next, i, step, emit);
    } else {
        if (!may_use(state, state.holder_s, i)) return;
        ++next.s;
        ++me.s;
        committed(next, i, Step{i, "increments S", next.s}, emit);
    }
}

void AnchorModel::committed(State next, std::uint8_t i, const Step& step, const Emit& emit) const {
    Anchor& me = next.anchors[i];
    me.done = Done::Nothing;
    if (me.phase == Phase::Start && rules_.second_checkpoint) {
        me.phase = Phase::Start2;
    } else if (me.phase == Phase::Start || me.phase == Phase::Start2) {
        me.phase = Phase::Serve;
        // From here on the checkpoint counts: what it holds survives any number of power cuts.
        const bool broken = show(next, me.updates);
        next.strict |= me.updates;
        return emit(next, step, broken);
    } else {
        // Here the update is made; when its reply leaves is another matter, as with any slow reply.
        me.phase = Phase::Answer;
        me.updates = me.next_updates;
        me.running = me.next_running;
        me.unnamed = me.unnamed && !rules_.adoption_commits_start;
        if (me.unnamed && next.workers[me.worker].made == 0) return start_uncommitted(next, i, step, emit);
        const bool broken = show(next, me.updates);
        if (me.checkpoint) next.strict |= me.updates;
        return emit(next, step, broken);
    }
    emit(next, step, false);
}

/// Against the rules: the worker starts from something on the disk that the leaf does not name.
void AnchorModel::start_uncommitted(const State& state, std::uint8_t i, const Step& step,
                                    const Emit& emit) const {
    for (const Updates found : on_disk(state, state.anchors[i])) {
        State next = state;
        next.workers[state.anchors[i].worker].memory = found;
        const bool broken = show(next, found);
        emit(next, step, broken);
    }
}

/// The reply reaches the worker that asked, if it is still there.
void AnchorModel::answer(const State& state, std::uint8_t i, const Emit& emit) const {
    State next = state;
    Anchor& me = next.anchors[i];
    Worker& worker = next.workers[me.worker];
    const bool listens = worker.life == Life::Waiting && worker.anchor == i;
    const Step step{i, "answers worker", me.worker};
    me.phase = Phase::Serve;
    me.worker = me.next_running = kNobody;
    me.next_updates = 0;
    me.checkpoint = false;
    if (!listens) return emit(next, step, false);
    worker.life = Life::Running;
    worker.memory =
        worker.made == 0 && !me.unnamed ? me.updates : static_cast<Updates>(worker.memory | worker.pending);
    worker.pending = 0;
    worker.strict = false;
    emit(next, step, false);
}

/// What a worker may find on the disk and start from, where the leaf names no state: nothing older than the
/// leaf.
std::vector<Updates> AnchorModel::on_disk(const State& state, const Anchor& anchor) const {
    constexpr Updates kMarks = static_cast<Updates>(~(kGap - 1));
    const auto least = static_cast<Updates>(anchor.updates & ~kMarks);
    std::vector<Updates> found;
    for (const Record& record : state.records) {
        const auto updates = static_cast<Updates>(record.updates & ~kMarks);
        if ((updates & least) == least) found.push_back(static_cast<Updates>(updates | anchor.updates));
    }
    std::ranges::sort(found);
    const auto repeated = std::ranges::unique(found);
    found.erase(repeated.begin(), repeated.end());
    return found;
}

void AnchorModel::worker_steps(const State& state, std::uint8_t w, const Emit& emit) const {
    const Worker& self = state.workers[w];
    if (self.life == Life::Dead) return;
    if (self.life != Life::None) {
        State next = state;
        next.workers[w] = Worker{.life = Life::Dead};
        emit(next, Step{w, "worker crashes"}, false);
    }
    if (self.life == Life::Running) send(state, w, emit);
    for (std::uint8_t i = 0; i < rules_.anchors; ++i) {
        const Anchor& anchor = state.anchors[i];
        if (anchor.phase != Phase::Serve || anchor.worker != kNobody) continue;
        if (self.life == Life::None) {
            if (w == 0 || state.workers[w - 1U].life != Life::None) start_worker(state, w, i, emit);
        } else if (self.anchor != i) {
            reattach(state, w, i, emit);
        }
    }
}

/// Somebody starts the VM at this anchor: the leaf names the new worker before it gets its key.
void AnchorModel::start_worker(const State& state, std::uint8_t w, std::uint8_t i, const Emit& emit) const {
    State next = state;
    next.workers[w] = Worker{.life = Life::Waiting, .anchor = i};
    Anchor& anchor = next.anchors[i];
    anchor.worker = w;
    anchor.next_running = w;
    if (!anchor.unnamed || !rules_.adoption_commits_start) {
        anchor.next_updates = anchor.updates;
        return emit(next, Step{w, "worker starts at anchor", i}, false);
    }
    for (const Updates found : on_disk(state, state.anchors[i])) {
        anchor.next_updates = found;
        emit(next, Step{w, "worker starts from what is on the disk, updates", found}, false);
    }
}

/// A TPM command changed the state: its reply is withheld, the digest goes to the anchor.
void AnchorModel::send(const State& state, std::uint8_t w, const Emit& emit) const {
    const Worker& self = state.workers[w];
    const Anchor& anchor = state.anchors[self.anchor];
    if (self.made == rules_.updates || anchor.phase != Phase::Serve || anchor.worker != kNobody) return;
    if (rules_.commit_names_instance && anchor.running != w) return;  // refused; the worker ends
    for (const bool strict : {false, true}) {
        State next = state;
        Worker& me = next.workers[w];
        me.pending = static_cast<Updates>(1U << (w * rules_.updates + self.made));
        ++me.made;
        me.life = Life::Waiting;
        me.strict = strict;
        Anchor& to = next.anchors[self.anchor];
        to.worker = w;
        to.checkpoint = strict;
        to.next_running = to.running;
        to.next_updates = static_cast<Updates>(me.memory | me.pending);
        emit(next, Step{w, strict ? "worker sends a strict update" : "worker sends an update"}, false);
    }
}

/// A worker whose anchor went away (or which the adversary connects elsewhere) goes to another.
void AnchorModel::reattach(const State& state, std::uint8_t w, std::uint8_t i, const Emit& emit) const {
    const Worker& self = state.workers[w];
    const Anchor& anchor = state.anchors[i];
    if (self.life == Life::Waiting && self.made == 0) return;  // never got its key: it starts anew
    if (rules_.reattach_names_instance && anchor.running != w) return;
    if (rules_.reattach_reads && !may_use(state, state.holder_o, i)) return;
    const auto ahead = static_cast<Updates>(self.memory | self.pending);
    const bool same = anchor.updates == self.memory;
    const bool lost_reply = self.pending != 0 && anchor.updates == ahead;
    State next = state;
    Worker& me = next.workers[w];
    me.anchor = i;
    if (self.pending != 0 && !lost_reply && (same || !rules_.reattach_proves_state)) {
        Anchor& to = next.anchors[i];
        to.worker = w;
        to.checkpoint = self.strict;
        to.next_running = to.running;
        to.next_updates = ahead;
        emit(next, Step{w, "worker reattaches and sends again, anchor", i}, false);
        return;
    }
    if (!same && !lost_reply && rules_.reattach_proves_state) return;  // refused; the worker ends
    me.life = Life::Running;
    me.memory = ahead;
    me.pending = 0;
    me.strict = false;
    const bool broken = show(next, me.memory);
    emit(next, Step{w, "worker goes on at anchor", i}, broken);
}

void State::pack(std::vector<std::uint8_t>& out) const {
    out.assign({o, s, holder_o, holder_s, cuts});
    const auto put16 = [&](Updates value) {
        out.push_back(static_cast<std::uint8_t>(value));
        out.push_back(static_cast<std::uint8_t>(value >> 8U));
    };
    put16(seen);
    put16(strict);
    for (const Anchor& each : anchors) {
        const auto phase = static_cast<std::uint8_t>(each.phase);
        out.push_back(static_cast<std::uint8_t>(phase << 4U | static_cast<std::uint8_t>(each.done) << 1U |
                                                static_cast<std::uint8_t>(each.checkpoint)));
        if (each.phase == Phase::New || each.phase == Phase::Dead) continue;
        out.insert(out.end(), {static_cast<std::uint8_t>(each.cuts << 2U |
                                                         static_cast<std::uint8_t>(each.unnamed) << 1U |
                                                         static_cast<std::uint8_t>(each.session)),
                               each.o, each.s, each.running, each.worker, each.next_running});
        put16(each.updates);
        put16(each.next_updates);
    }
    for (const Worker& each : workers) {
        out.push_back(static_cast<std::uint8_t>(static_cast<std::uint8_t>(each.life) << 1U |
                                                static_cast<std::uint8_t>(each.strict)));
        if (each.life == Life::None || each.life == Life::Dead) continue;
        out.insert(out.end(), {each.anchor, each.made});
        put16(each.memory);
        put16(each.pending);
    }
    for (const Record& each : records) {
        const auto cuts_and_name =
            static_cast<std::uint8_t>(each.cuts << 1U | static_cast<std::uint8_t>(each.unnamed));
        out.insert(out.end(), {each.o, each.s, cuts_and_name, each.running});
        put16(each.updates);
    }
}

State State::unpack(std::span<const std::uint8_t> in) {
    std::size_t at = 0;
    const auto get8 = [&] { return in[at++]; };
    const auto get16 = [&] {
        at += 2;
        return static_cast<Updates>(in[at - 2] | in[at - 1] << 8);
    };
    State state;
    for (std::uint8_t* each : {&state.o, &state.s, &state.holder_o, &state.holder_s, &state.cuts})
        *each = get8();
    state.seen = get16();
    state.strict = get16();
    for (Anchor& each : state.anchors) {
        const std::uint8_t head = get8();
        each.phase = static_cast<Phase>(head >> 4);
        each.done = static_cast<Done>(head >> 1 & 7);
        each.checkpoint = (head & 1) != 0;
        if (each.phase == Phase::New || each.phase == Phase::Dead) continue;
        const std::uint8_t session = get8();
        each.cuts = session >> 2;
        each.unnamed = (session & 2) != 0;
        each.session = (session & 1) != 0;
        for (std::uint8_t* field : {&each.o, &each.s, &each.running, &each.worker, &each.next_running})
            *field = get8();
        each.updates = get16();
        each.next_updates = get16();
    }
    for (Worker& each : state.workers) {
        const std::uint8_t head = get8();
        each.life = static_cast<Life>(head >> 1);
        each.strict = (head & 1) != 0;
        if (each.life == Life::None || each.life == Life::Dead) continue;
        each.anchor = get8();
        each.made = get8();
        each.memory = get16();
        each.pending = get16();
    }
    while (at < in.size()) {
        Record record;
        for (std::uint8_t* field : {&record.o, &record.s, &record.cuts, &record.running}) *field = get8();
        record.unnamed = (record.cuts & 1) != 0;
        record.cuts >>= 1;
        record.updates = get16();
        state.records.push_back(record);
    }
    return state;
}

}  // namespace holdfast::model
