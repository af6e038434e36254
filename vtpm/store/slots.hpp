// SPDX-License-Identifier: Apache-2.0
// One vTPM's state on disk: a file with its identity, a mark, and two slots that are written in turns,
// so that the last durable version is never touched while the next is written. What is stored is
// opaque (sealed) here. Format: docs/vtpm.md, "The state file".
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "sys/fd.hpp"
#include "vtpm/state/identity.hpp"
#include "vtpm/store/protocol.hpp"

namespace holdfast::vtpm::store {

inline constexpr std::size_t kSlotBytes = 256U << 10;
inline constexpr std::size_t kSlots = 2;
inline constexpr std::uint64_t kIdentityOffset = 0;
inline constexpr std::uint64_t kMarkOffset = 4096;
inline constexpr std::uint64_t kSlotsOffset = 8192;
inline constexpr std::uint64_t kFileBytes = kSlotsOffset + kSlots * kSlotBytes;

/// What slots are written to and read from: a file, or in tests one that loses power.
class Disk {
public:
    virtual ~Disk() = default;
    Disk(const Disk&) = delete;
    Disk& operator=(const Disk&) = delete;
    virtual Result<void> write(std::span<const std::byte> bytes, std::uint64_t offset) = 0;
    /// After it, everything written before is found again whatever happens.
    virtual Result<void> sync() = 0;
    virtual Result<void> read(std::span<std::byte> bytes, std::uint64_t offset) = 0;
    virtual Result<std::uint64_t> size() = 0;

protected:
    Disk() = default;
};

class FileDisk final : public Disk {
public:
    explicit FileDisk(UniqueFd file) noexcept : file_{std::move(file)} {}
    Result<void> write(std::span<const std::byte> bytes, std::uint64_t offset) override;
    Result<void> sync() override;
    Result<void> read(std::span<std::byte> bytes, std::uint64_t offset) override;
    Result<std::uint64_t> size() override;
    [[nodiscard]] const UniqueFd& file() const noexcept { return file_; }

private:
    UniqueFd file_;
};

struct Identified {
    Identity identity;
    std::uint64_t created = 0;  ///< seconds since 1970
};
/// Writes the whole of a new state file, all blocks of it, and syncs.
Result<void> format(Disk& disk, const Identified& owner);
/// Who a state file says it belongs to: a hint, which the seal proves.
Result<Identified> identify(Disk& disk);

class Slots {
public:
    /// Finds the newest whole slot. A file that is not a state file, or has lost a version that it
    /// once held (the mark knows it), is an Input error; nothing is written.
    static Result<Slots> open(Disk& disk);

    [[nodiscard]] std::uint64_t version() const noexcept { return version_; }  ///< 0: empty
    [[nodiscard]] std::span<const std::byte> blob() const noexcept { return blob_; }
    /// Makes `blob` durable as version()+1. After an error nothing more may be written: what the kernel
    /// dropped after a failed sync, it reports as clean the next time.
    Result<void> write(std::span<const std::byte> blob);
    /// For anchored states: version() was never answered for, and the one before it is the newest. Writes
    /// nothing yet. Input error: there is none before it.
    Result<void> go_back();
    /// Notes that version() is durable. Lazily: no sync follows, so it costs no answer any time.
    Result<void> mark();

private:
    Slots(Disk& disk, std::uint64_t version, std::vector<std::byte> blob)
        : disk_{&disk}, version_{version}, blob_{std::move(blob)} {}
    Disk* disk_;  // outlives this
    std::uint64_t version_;
    bool went_back_ = false;  // the mark may be beyond version_
    std::vector<std::byte> blob_;
    std::vector<std::byte> scratch_;  // head and blob in one piece, so that one pwrite takes both
};

}  // namespace holdfast::vtpm::store
