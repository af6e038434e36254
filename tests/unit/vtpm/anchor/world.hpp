// SPDX-License-Identifier: Apache-2.0
// A disk and a TPM's counters that outlive any number of anchors, and can be made to fail at any single
// call: before it had an effect, after it, or halfway through a write.
#pragma once

#include <array>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "vtpm/anchor/anchor.hpp"

namespace holdfast::anchor::test {

enum class FaultKind { Before, After, Half };

inline SecretBytes fresh_key() {
    auto made = SecretBytes::create(32);
    std::ranges::fill(made->bytes(), std::byte{0x5a});
    return std::move(*made);
}

struct World {
    struct File {
        std::vector<std::byte> cache;  ///< what a reader sees
        std::vector<std::byte> disk;   ///< what survives a power cut
    };
    std::array<File, kLogFiles> files;
    std::uint64_t o = 1000;
    std::uint64_t s = 50;
    std::uint32_t reset_count = 1;
    int holder = 0;
    int instances = 0;
    int calls = 0;
    int fail_at = -1;
    FaultKind fault = FaultKind::Before;
    SecretBytes key = fresh_key();

    /// Which fault this call suffers, if it is its turn.
    std::optional<FaultKind> turn() {
        if (calls++ != fail_at) return {};
        return fault;
    }
    /// Everybody dies; unsynced writes are lost, or (as `keep` says) reached the disk all the same.
    void cut_power(bool keep) {
        for (File& file : files) {
            if (keep) file.disk = file.cache;
            else file.cache = file.disk;
        }
        o |= 255;
        ++reset_count;
        ++holder;
    }
};

inline Error fault_error() { return {Fault::Os, EIO, "injected"}; }

class WorldFiles final : public LogFiles {
public:
    explicit WorldFiles(World& world) : world_{world} {}
    Result<std::vector<std::byte>> read(std::uint32_t file) override {
        if (world_.turn()) return fault_error();
        return world_.files[file].cache;
    }
    Result<void> empty(std::uint32_t file) override {
        const auto fault = world_.turn();
        if (fault != FaultKind::Before) world_.files[file].cache.clear();
        if (fault) return fault_error();
        return {};
    }
    Result<void> append(std::uint32_t file, std::span<const std::byte> bytes) override {
        const auto fault = world_.turn();
        auto& cache = world_.files[file].cache;
        const std::size_t taken = !fault || *fault == FaultKind::After ? bytes.size()
                                  : *fault == FaultKind::Half          ? bytes.size() / 2
                                                                       : 0;
        cache.insert(cache.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
        if (fault) return fault_error();
        return {};
    }
    Result<void> sync(std::uint32_t file) override {
        const auto fault = world_.turn();
        auto& [cache, disk] = world_.files[file];
        if (fault == FaultKind::Half) {
            // What was synced before stays; of what came since, half.
            const bool grown =
                cache.size() >= disk.size() && std::ranges::equal(disk, std::span{cache}.first(disk.size()));
            const std::size_t before = grown ? disk.size() : 0;
            const std::size_t end = before + (cache.size() - before) / 2;
            disk.assign(cache.begin(), cache.begin() + static_cast<std::ptrdiff_t>(end));
        } else if (fault != FaultKind::Before) {
            disk = cache;
        }
        if (fault) return fault_error();
        return {};
    }

private:
    World& world_;
};

class WorldCounters final : public Counters {
public:
    explicit WorldCounters(World& world) : world_{world}, me_{1000 + ++world.instances} {}
    std::expected<void, Refusal> fence() override {
        const auto fault = world_.turn();
        if (fault != FaultKind::Before) world_.holder = me_;
        if (fault) return std::unexpected{Refusal{Refused::TpmUnreachable, fault_error()}};
        return {};
    }
    Result<Reading> read() override {
        if (world_.turn() || world_.holder != me_) return fault_error();
        return Reading{world_.o, world_.s, world_.reset_count};
    }
    Result<void> advance_o() override { return advance(world_.o); }
    Result<void> advance_s() override { return advance(world_.s); }
    Result<Certificate> certify(const Digest&) override { return fault_error(); }
    [[nodiscard]] std::uint64_t jump_bits() const noexcept override { return 255; }

private:
    Result<void> advance(std::uint64_t& counter) {
        const auto fault = world_.turn();
        if (world_.holder != me_) return fault_error();
        if (fault != FaultKind::Before) ++counter;
        if (fault) return fault_error();
        return {};
    }
    World& world_;
    int me_;
};

/// One life of an anchor on a world.
struct Life {
    explicit Life(World& world, OnPowerLoss policy = OnPowerLoss::Refuse)
        : files{world},
          counters{world},
          setup{.files = files, .counters = counters, .key = world.key, .on_power_loss = policy} {}
    bool open() {
        auto opened = Anchor::open(setup);
        if (opened) anchor = std::move(*opened);
        else refusal = opened.error();
        return anchor != nullptr;
    }
    [[nodiscard]] std::string why() const {
        return refusal ? std::string{words_of(refusal->state).name} : std::string{"serves"};
    }
    WorldFiles files;
    WorldCounters counters;
    Anchor::Setup setup;
    std::unique_ptr<Anchor> anchor;
    std::optional<Refusal> refusal;
};

inline VmId vm_id(unsigned number) {
    VmId vm{};
    vm[0] = static_cast<std::byte>(number);
    vm[1] = static_cast<std::byte>(number >> 8);
    return vm;
}

inline void found_anchor(World& world) {
    Life life{world};
    ASSERT_TRUE(life.counters.fence());
    ASSERT_TRUE(Anchor::found(life.setup, *life.counters.read()));
}

}  // namespace holdfast::anchor::test
