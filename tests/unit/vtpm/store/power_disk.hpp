// SPDX-License-Identifier: Apache-2.0
// A disk that can lose power: of what was written since the last sync, any sectors may be there or not.
#pragma once

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "vtpm/store/slots.hpp"

namespace holdfast::vtpm::store {

class PowerDisk final : public Disk {
public:
    static constexpr std::size_t kSector = 512;

    Result<void> write(std::span<const std::byte> bytes, std::uint64_t offset) override {
        if (steps_left_ == 0) return Error{Fault::Os, 0, "power is gone"};
        if (steps_left_ > 0) --steps_left_;
        if (offset + bytes.size() > now_.size()) {
            now_.resize(offset + bytes.size());
            durable_.resize(now_.size());
        }
        std::memcpy(now_.data() + offset, bytes.data(), bytes.size());
        for (std::uint64_t at = offset / kSector; at <= (offset + bytes.size() - 1) / kSector; ++at) {
            unsynced_.push_back(at);
        }
        return {};
    }
    Result<void> sync() override {
        if (steps_left_ == 0) return Error{Fault::Os, 0, "power is gone"};
        if (steps_left_ > 0) --steps_left_;
        for (const auto at : unsynced_) keep(at);
        unsynced_.clear();
        return {};
    }
    Result<void> read(std::span<std::byte> bytes, std::uint64_t offset) override {
        if (offset + bytes.size() > now_.size()) return input_error("the file is too short");
        std::memcpy(bytes.data(), now_.data() + offset, bytes.size());
        return {};
    }
    Result<std::uint64_t> size() override { return now_.size(); }

    /// Power goes after so many writes and syncs.
    void cut_after(int steps) { steps_left_ = steps; }
    /// What a restart finds: everything synced, and a random choice of the rest.
    template <typename Random>
    void restart(Random& random) {
        std::ranges::shuffle(unsynced_, random);
        unsynced_.resize(std::uniform_int_distribution<std::size_t>{0, unsynced_.size()}(random));
        for (const auto at : unsynced_) keep(at);
        unsynced_.clear();
        now_ = durable_;
        steps_left_ = -1;
    }
    std::vector<std::byte>& bytes() { return now_; }

private:
    void keep(std::uint64_t sector) {
        const std::size_t at = sector * kSector;
        const std::size_t size = std::min(kSector, now_.size() - at);
        std::memcpy(durable_.data() + at, now_.data() + at, size);
    }
    std::vector<std::byte> now_;
    std::vector<std::byte> durable_;
    std::vector<std::uint64_t> unsynced_;
    int steps_left_ = -1;
};

}  // namespace holdfast::vtpm::store
