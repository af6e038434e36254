// SPDX-License-Identifier: Apache-2.0
#include "iommu/host/iommufd.hpp"

#include <gtest/gtest.h>

#include "iommu/domain.hpp"
#include "tests/unit/iommu/fake_space.hpp"
#include "tests/unit/iommu/host/fake_iommufd.hpp"

namespace holdfast::iommu::host {
namespace {

class IommufdTest : public testing::Test {
protected:
    static UniqueFd file() { return std::move(*sealed_memfd("stands-for-iommufd", 4096)); }
    static std::span<std::byte> host(std::uint64_t size) {
        // SAFETY: never followed.
        return {reinterpret_cast<std::byte*>(1ULL << 40), size};
    }
    FakeIommufd kernel;
    UniqueFd device = file();
    std::unique_ptr<IommufdSpace> space = std::move(*IommufdSpace::create(file(), kernel));
    FakeIommufd::Space& mapped = kernel.spaces_.begin()->second;
};

TEST_F(IommufdTest, DeviceIsBoundThenAttachedAndReachesNothing) {
    ASSERT_TRUE(space->add(device));

    EXPECT_EQ(kernel.attached_.at(device.get()), kernel.spaces_.begin()->first);
    EXPECT_TRUE(mapped.empty());
}

TEST_F(IommufdTest, DeviceNarrowsWhatIsUsable) {
    ASSERT_EQ(space->usable().size(), 1);
    ASSERT_TRUE(space->add(device));

    ASSERT_EQ(space->usable().size(), 2);
    EXPECT_EQ(space->usable()[0], (IovaRange{Iova{0}, Iova{0xfedfffff}}));
}

TEST_F(IommufdTest, DeviceThatIsInUseIsRefused) {
    ASSERT_TRUE(space->add(device));

    EXPECT_EQ(space->add(device).error().os_errno, EINVAL);
}

TEST_F(IommufdTest, ListOfRangesThatIsTooLongIsAnError) {
    kernel.list_too_long_ = true;

    EXPECT_EQ(space->add(device).error().os_errno, EMSGSIZE);
}

TEST_F(IommufdTest, AccessIsPassedOnAndTheAddressIsFixed) {
    ASSERT_TRUE(space->map(Iova{0x1000}, host(0x2000), Access::Read));
    ASSERT_TRUE(space->map(Iova{0x9000}, host(0x1000), Access::ReadWrite));

    EXPECT_EQ(mapped.at(0x1000).flags, uapi::IOMMU_IOAS_MAP_FIXED_IOVA | uapi::IOMMU_IOAS_MAP_READABLE);
    EXPECT_EQ(mapped.at(0x9000).flags, uapi::IOMMU_IOAS_MAP_FIXED_IOVA | uapi::IOMMU_IOAS_MAP_READABLE |
                                           uapi::IOMMU_IOAS_MAP_WRITEABLE);
    EXPECT_EQ(mapped.at(0x1000).size, 0x2000);
}

TEST_F(IommufdTest, UnmapSaysHowManyBytesThatWere) {
    ASSERT_TRUE(space->map(Iova{0x1000}, host(0x2000), Access::Read));
    ASSERT_TRUE(space->map(Iova{0x8000}, host(0x1000), Access::Read));

    EXPECT_EQ(space->unmap({Iova{0x1000}, Iova{0x1fff}}).error().os_errno, ENOENT);  // would split
    EXPECT_EQ(*space->unmap({Iova{0x1000}, Iova{0x8fff}}), 0x3000);
    EXPECT_EQ(*space->unmap_all(), 0);
}

TEST_F(IommufdTest, SpaceIsFreedWithItsOwner) {
    space.reset();

    EXPECT_TRUE(kernel.spaces_.empty());
}

TEST_F(IommufdTest, DomainHoldsItEqual) {
    ASSERT_TRUE(space->add(device));
    FakePages pages{1 << 20};
    Domain domain{{.max_bytes = 1 << 20}, pages};
    ASSERT_TRUE(domain.attach(*space));
    ASSERT_TRUE(domain.map({.start = Iova{0x1000}, .size = 0x1000, .target = GuestAddr{0x3000}}));

    EXPECT_EQ(mapped.at(0x1000).host, FakePages::kHostStart + 0x3000);
    EXPECT_EQ(domain.unmap({Iova{0}, Iova{0xfffff}}), 1);
    EXPECT_TRUE(mapped.empty());
}

}  // namespace
}  // namespace holdfast::iommu::host
