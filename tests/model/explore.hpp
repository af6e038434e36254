// SPDX-License-Identifier: Apache-2.0
// Breadth-first search of everything that can happen in a model: every schedule, crash and choice of
// an adversary. A violation comes back as the shortest way to it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

namespace holdfast::model {

/// What one step did, for a trace that people read. `text` is a literal; the numbers follow it.
struct Step {
    int who = 0;
    const char* text = "";
    int value = -1;
};

inline std::string words(const Step& step) {
    std::string text = std::to_string(step.who) + ": " + step.text;
    if (step.value >= 0) text += ' ' + std::to_string(step.value);
    return text;
}

struct Outcome {
    bool safe = true;
    bool complete = true;  ///< false: more than the states allowed
    std::size_t states = 0;
    std::string trace;  ///< of the first violation
};

/// Byte strings, each once, numbered in the order of insertion.
class StateSet {
public:
    StateSet() : slots_(1U << 16, kEmpty) {}

    /// The state's number, and whether it is new.
    std::pair<std::uint32_t, bool> insert(std::span<const std::uint8_t> state) {
        if ((starts_.size() + 1) * 2 > slots_.size()) grow();
        std::size_t slot = hash(state) & (slots_.size() - 1);
        while (slots_[slot] != kEmpty) {
            if (std::ranges::equal(at(slots_[slot]), state)) return {slots_[slot], false};
            slot = (slot + 1) & (slots_.size() - 1);
        }
        const auto number = static_cast<std::uint32_t>(starts_.size());
        slots_[slot] = number;
        starts_.push_back(bytes_.size());
        bytes_.insert(bytes_.end(), state.begin(), state.end());
        return {number, true};
    }
    [[nodiscard]] std::span<const std::uint8_t> at(std::uint32_t number) const {
        const std::size_t begin = starts_[number];
        const std::size_t end = number + 1 < starts_.size() ? starts_[number + 1] : bytes_.size();
        return std::span{bytes_}.subspan(begin, end - begin);
    }
    [[nodiscard]] std::size_t size() const { return starts_.size(); }

private:
    static constexpr std::uint32_t kEmpty = ~0U;
    static std::size_t hash(std::span<const std::uint8_t> bytes) {
        std::uint64_t h = 0xcbf29ce484222325;
        for (const std::uint8_t byte : bytes) h = (h ^ byte) * 0x100000001b3;
        return h ^ h >> 29;
    }
    void grow() {
        std::vector<std::uint32_t> wider(slots_.size() * 2, kEmpty);
        for (std::uint32_t number = 0; number < starts_.size(); ++number) {
            std::size_t slot = hash(at(number)) & (wider.size() - 1);
            while (wider[slot] != kEmpty) slot = (slot + 1) & (wider.size() - 1);
            wider[slot] = number;
        }
        slots_ = std::move(wider);
    }
    std::vector<std::uint32_t> slots_;
    std::vector<std::size_t> starts_;
    std::vector<std::uint8_t> bytes_;
};

/// A Model has: State with pack() and unpack(); first(); and successors(state, emit), which calls
/// emit(next state, step, whether the step broke the promise).
template <typename Model>
Outcome explore(const Model& model, std::size_t most_states) {
    using State = typename Model::State;
    StateSet seen;
    std::vector<std::uint32_t> parents;
    std::vector<std::uint8_t> packed;
    const auto trace_to = [&](std::uint32_t number) {
        std::vector<std::uint32_t> path{number};
        while (path.back() != 0) path.push_back(parents[path.back()]);
        std::ranges::reverse(path);
        std::string text;
        for (std::size_t i = 0; i + 1 < path.size(); ++i) {
            bool told = false;
            model.successors(State::unpack(seen.at(path[i])), [&](const State& next, const Step& step, bool) {
                next.pack(packed);
                if (told || !std::ranges::equal(packed, seen.at(path[i + 1]))) return;
                told = true;
                if (!text.empty()) text += "; ";
                text += words(step);
            });
        }
        return text;
    };

    model.first().pack(packed);
    seen.insert(packed);
    parents.push_back(0);
    Outcome outcome;
    for (std::uint32_t at = 0; at < seen.size() && outcome.safe; ++at) {
        if (seen.size() > most_states) {
            outcome.complete = false;
            break;
        }
        const State state = State::unpack(seen.at(at));
        model.successors(state, [&](const State& next, const Step& step, bool broken) {
            if (!outcome.safe) return;
            next.pack(packed);
            if (seen.insert(packed).second) parents.push_back(at);
            if (!broken) return;
            outcome.safe = false;
            outcome.trace = trace_to(at) + "; " + words(step);
        });
    }
    outcome.states = seen.size();
    return outcome;
}

}  // namespace holdfast::model
