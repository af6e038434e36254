// SPDX-License-Identifier: Apache-2.0
// The virtio IOMMU's requests, any bytes in any order. Whatever comes, what is mapped stays inside the caps,
// the interrupt window and guest RAM, and what is exposed is what is mapped.
#include <array>
#include <numeric>

#include "iommu/virtio/guest_iommu.hpp"
#include "tests/fuzz/input.hpp"
#include "tests/unit/iommu/fake_space.hpp"

namespace {

using namespace holdfast;
using namespace holdfast::iommu;

class Silent final : public iommu::virtio::Witness {
public:
    void granted(std::uint32_t, const iommu::Mapping&) noexcept override {}
    void refused(std::uint32_t, const iommu::Mapping&, Refusal) noexcept override {}
    void revoked(std::uint32_t, IovaRange, std::uint64_t) noexcept override {}
    void lost() noexcept override { bug("a mapping was lost though the host did as told"); }
};

constexpr std::uint64_t kRam = 1 << 20;
constexpr Limits kLimits{.max_mappings = 32, .max_bytes = 1 << 19};

std::uint64_t mapped_in(const FakeSpace& space) {
    std::uint64_t bytes = 0;
    for (const auto& [start, entry] : space.entries_) {
        check(!kMsiWindow.touches({Iova{start}, Iova{start + entry.size - 1}}), "interrupt window mapped");
        bytes += entry.size;
    }
    check(space.entries_.size() <= kLimits.max_mappings && bytes <= kLimits.max_bytes, "above the caps");
    return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input{data, size};
    FakePages pages{kRam};
    FakeSpace one;
    FakeSpace two;
    Silent witness;
    iommu::virtio::GuestIommu iommu{pages, witness};
    iommu.add_endpoint(8, one, 0, kLimits);
    iommu.add_endpoint(16, two, 1, kLimits);
    while (!input.empty()) {
        const auto lengths = input.take<std::uint8_t>();
        one.fail_map_in_ = lengths == 0xff ? 1 : 0;
        std::array<std::byte, iommu::virtio::kMostAnswer> answer{};
        // A driver's own lengths, mostly: type and size then fit more often than by chance.
        const auto request = input.take_bytes(lengths % 80);
        const auto room = std::span{answer}.first(lengths % 3 == 0 ? 4 : answer.size());
        static_cast<void>(iommu.serve(request, room, 0));
        const std::uint64_t exposed = kPageSize * static_cast<std::uint64_t>(std::accumulate(
                                                      pages.exposed_.begin(), pages.exposed_.end(), 0));
        check(exposed == iommu.usage().bytes, "exposed is not what is granted");
        check(mapped_in(one) + mapped_in(two) >= exposed, "granted is not mapped");
        check(iommu.domains() <= 2, "domains without endpoints");
    }
    iommu.reset();
    check(one.entries_.empty() && two.entries_.empty(), "mapped after a reset");
    return 0;
}
