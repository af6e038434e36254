// SPDX-License-Identifier: Apache-2.0
// One address space of a guest: what its devices may reach, held equal in every host space that is attached.
// Nothing is reachable unless map() has said so.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string_view>
#include <vector>

#include "iommu/interval_map.hpp"
#include "iommu/space.hpp"

namespace holdfast::iommu {

/// Why something was not done. The guest's protocol turns it into a status, the audit log into words.
enum class Refusal : std::uint8_t {
    Misaligned,       ///< not whole granules, or empty
    OutOfRange,       ///< wraps around, or the host cannot map these addresses
    Reserved,         ///< interrupts are delivered there
    Overlap,          ///< something is mapped there already
    NotMemory,        ///< the target is not guest RAM
    TooManyMappings,  ///< the policy's cap
    TooManyBytes,     ///< the policy's cap
    WouldSplit,       ///< an unmap that would leave a part of a mapping
    HostRefused,      ///< the host's IOMMU or memory said no; nothing has changed
    Lost,             ///< the host could not take a mapping back: the devices must be cut off at once
};
[[nodiscard]] std::string_view refusal_name(Refusal refusal) noexcept;

template <typename T>
using Outcome = std::expected<T, Refusal>;

struct Limits {
    std::uint64_t granule = 4096;  ///< power of two
    IovaRange input{Iova{0}, Iova{(1ULL << 48) - 1}};
    std::uint64_t max_mappings = 32768;  ///< below the host's 65535 (vfio_iommu_type1.dma_entry_limit)
    std::uint64_t max_bytes = 0;
};

/// Where x86 delivers interrupts: never memory, whoever asks.
inline constexpr IovaRange kMsiWindow{Iova{0xfee00000}, Iova{0xfeefffff}};

struct Usage {
    std::uint64_t mappings = 0;
    std::uint64_t bytes = 0;
};

/// Not thread-safe: one thread serves one guest's IOMMU. After Refusal::Lost it does nothing more.
class Domain {
public:
    /// `pages` is borrowed for the domain's life.
    Domain(const Limits& limits, GuestPages& pages) noexcept : limits_{limits}, pages_{pages} {}
    Domain(const Domain&) = delete;
    Domain& operator=(const Domain&) = delete;
    /// Revokes all.
    ~Domain();

    /// Brings a space with no mappings to what this domain has; on failure it has none again. The space is
    /// borrowed until detach().
    Outcome<void> attach(Space& space);
    /// From now on these caps hold too, those of a further device's rule. What is mapped already must be
    /// below them: TooManyMappings or TooManyBytes, and nothing has changed.
    Outcome<void> narrow(const Limits& limits);
    /// The space has no mappings afterwards.
    Outcome<void> detach(Space& space);

    /// In all spaces or in none.
    Outcome<void> map(const Mapping& mapping);
    /// Whole mappings only; returns how many. One that would be split: nothing is done.
    Outcome<std::uint64_t> unmap(IovaRange range);
    Outcome<std::uint64_t> revoke_all() { return unmap({Iova{0}, Iova{~0ULL}}); }

    [[nodiscard]] std::optional<Mapping> find(Iova address) const noexcept { return mappings_.find(address); }
    [[nodiscard]] const IntervalMap& mappings() const noexcept { return mappings_; }
    [[nodiscard]] Usage usage() const noexcept { return {mappings_.size(), bytes_}; }
    [[nodiscard]] bool lost() const noexcept { return lost_; }

private:
    [[nodiscard]] Outcome<std::span<std::byte>> judge(const Mapping& mapping) const noexcept;
    /// Maps in the attached spaces; what was done is undone on failure.
    Outcome<void> map_in_spaces(const Mapping& mapping, std::span<std::byte> host);
    /// All mappings in a range, from the first byte of the first to the last of the last.
    struct Extent {
        IovaRange range;
        std::uint64_t bytes = 0;
        std::uint64_t count = 0;
    };
    /// WouldSplit: one of them lies in it in part.
    [[nodiscard]] Outcome<Extent> extent_of(IovaRange range) const noexcept;
    std::unexpected<Refusal> lose() noexcept;

    Limits limits_;
    GuestPages& pages_;
    IntervalMap mappings_;
    std::vector<Space*> spaces_;
    std::uint64_t bytes_ = 0;
    bool lost_ = false;
};

}  // namespace holdfast::iommu
