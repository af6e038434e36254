// SPDX-License-Identifier: Apache-2.0
// Kernel files that are truncated, huge, overlapping or corrupt: one clear error each, and nothing
// outside guest RAM is touched. Whole kernels boot in tests/linux.
#include "vmm/boot/kernel.hpp"

#include <cstring>
#include <functional>
#include <string_view>

#include <gtest/gtest.h>
#include <unistd.h>

#include "vmm/boot/layout.hpp"

namespace holdfast::boot {
namespace {

constexpr std::uint64_t kMemory = 64ULL << 20;

/// A file that is a list of "these bytes there".
class Image {
public:
    explicit Image(std::size_t size) : bytes_(size) {}
    template <typename T>
    Image& put(std::size_t offset, T value) {
        std::memcpy(bytes_.data() + offset, &value, sizeof value);
        return *this;
    }
    Image& text(std::size_t offset, std::string_view value) {
        std::memcpy(bytes_.data() + offset, value.data(), value.size());
        return *this;
    }
    void resize(std::size_t size) { bytes_.resize(size); }
    [[nodiscard]] UniqueFd file() const {
        UniqueFd fd = sealed_memfd("kernel", bytes_.size()).value();
        EXPECT_EQ(::pwrite(fd.get(), bytes_.data(), bytes_.size(), 0), static_cast<ssize_t>(bytes_.size()));
        return fd;
    }

private:
    std::vector<std::byte> bytes_;
};

class KernelTest : public testing::Test {
protected:
    Result<Kernel> load(const Image& image, ElfEntry entry = ElfEntry::Pvh) {
        Loader loader{memory};
        return load_kernel(loader, image.file(), entry);
    }
    void expect_refused(const Image& image, std::string_view why) {
        const auto kernel = load(image);
        ASSERT_FALSE(kernel.has_value()) << why;
        EXPECT_EQ(kernel.error().fault, Fault::Input);
        EXPECT_EQ(std::string_view{kernel.error().what}, why);
    }
    memcrypt::GuestMemory memory = memcrypt::GuestMemory::create_plain(ram_ranges(kMemory)).value();
};

// One PT_LOAD at 2 MiB and one PT_NOTE with the PVH entry.
constexpr std::uint64_t kLoadAt = 0x200000;
constexpr std::size_t kPhdr0 = 64;
constexpr std::size_t kPhdr1 = 64 + 56;
constexpr std::size_t kNotes = 0x200;
constexpr std::size_t kText = 0x400;
Image good_elf() {
    Image elf{0x500};
    elf.text(0, "\x7f"
                "ELF")
        .put<std::uint8_t>(4, 2)
        .put<std::uint8_t>(5, 1);
    elf.put<std::uint16_t>(16, 2).put<std::uint16_t>(18, 62);
    elf.put<std::uint64_t>(24, kLoadAt + 8).put<std::uint64_t>(32, kPhdr0);
    elf.put<std::uint16_t>(54, 56).put<std::uint16_t>(56, 2);
    elf.put<std::uint32_t>(kPhdr0, 1)
        .put<std::uint64_t>(kPhdr0 + 8, kText)
        .put<std::uint64_t>(kPhdr0 + 24, kLoadAt);
    elf.put<std::uint64_t>(kPhdr0 + 32, 0x100).put<std::uint64_t>(kPhdr0 + 40, 0x2000);
    elf.put<std::uint32_t>(kPhdr1, 4)
        .put<std::uint64_t>(kPhdr1 + 8, kNotes)
        .put<std::uint64_t>(kPhdr1 + 32, 32);
    // Another note first: the search must step over it.
    elf.put<std::uint32_t>(kNotes, 0).put<std::uint32_t>(kNotes + 4, 0).put<std::uint32_t>(kNotes + 8, 7);
    elf.put<std::uint32_t>(kNotes + 12, 4)
        .put<std::uint32_t>(kNotes + 16, 4)
        .put<std::uint32_t>(kNotes + 20, 18);
    elf.text(kNotes + 24, std::string_view{"Xen\0", 4}).put<std::uint32_t>(kNotes + 28, kLoadAt + 0x10);
    elf.text(kText, "kernel text");
    elf.put<std::uint64_t>(kPhdr1 + 32, 32);
    return elf;
}

TEST_F(KernelTest, ElfIsLoadedAtItsPhysicalAddressAndEnteredByItsNote) {
    const auto kernel = load(good_elf());
    ASSERT_TRUE(kernel.has_value()) << kernel.error().what;
    EXPECT_EQ(kernel->mode, kvm::EntryState::Mode::Protected32);
    EXPECT_EQ(kernel->entry, GuestAddr{kLoadAt + 0x10});
    EXPECT_EQ(kernel->end, GuestAddr{kLoadAt + 0x2000});
    std::array<char, 11> text{};
    ASSERT_TRUE(memory.read(GuestAddr{kLoadAt}, std::as_writable_bytes(std::span{text})).has_value());
    EXPECT_EQ(std::string_view(text.data(), text.size()), "kernel text");
}

TEST_F(KernelTest, FlatElfIsEnteredInLongModeAtItsElfEntry) {
    const auto kernel = load(good_elf(), ElfEntry::Flat);
    ASSERT_TRUE(kernel.has_value());
    EXPECT_EQ(kernel->mode, kvm::EntryState::Mode::Long64);
    EXPECT_EQ(kernel->entry, GuestAddr{kLoadAt + 8});
}

TEST_F(KernelTest, ElfWithABadHeaderIsRefused) {
    expect_refused(good_elf().put<std::uint8_t>(4, 1), "kernel is an ELF, but not a 64-bit x86 one");
    expect_refused(good_elf().put<std::uint16_t>(18, 183), "kernel is an ELF, but not a 64-bit x86 one");
    expect_refused(good_elf().put<std::uint16_t>(16, 1), "kernel is an ELF, but not an executable");
    expect_refused(good_elf().put<std::uint16_t>(54, 55), "kernel ELF has a bad program header table");
    expect_refused(good_elf().put<std::uint16_t>(56, 0), "kernel ELF has a bad program header table");
    expect_refused(good_elf().put<std::uint16_t>(56, 0xffff), "kernel ELF has a bad program header table");
    expect_refused(good_elf().put<std::uint64_t>(32, 0x4e0), "file ends too early");
    EXPECT_FALSE(load(good_elf().put<std::uint64_t>(32, ~0ULL - 8)).has_value());
}

TEST_F(KernelTest, ElfSegmentOutsideRamIsRefused) {
    expect_refused(good_elf().put<std::uint64_t>(kPhdr0 + 24, 0), "kernel ELF segment lies below 1 MiB");
    expect_refused(good_elf().put<std::uint64_t>(kPhdr0 + 24, 0xfffff),
                   "kernel ELF segment lies below 1 MiB");
    for (const std::uint64_t at :
         {kMemory - 0x1fff, kMemory, std::uint64_t{0xc0000000}, ~std::uint64_t{0} - 0xfff}) {
        expect_refused(good_elf().put<std::uint64_t>(kPhdr0 + 24, at),
                       "kernel ELF segment lies outside guest RAM");
    }
    expect_refused(good_elf().put<std::uint64_t>(kPhdr0 + 40, ~0ULL),
                   "kernel ELF segment lies outside guest RAM");
    expect_refused(good_elf().put<std::uint64_t>(kPhdr0 + 40, 0xff),
                   "kernel ELF segment is larger in the file than in memory");
}

TEST_F(KernelTest, ElfSegmentThatEndsOutsideTheFileIsRefused) {
    expect_refused(good_elf().put<std::uint64_t>(kPhdr0 + 8, 0x480), "file ends too early");
    EXPECT_FALSE(load(good_elf().put<std::uint64_t>(kPhdr0 + 8, ~0ULL - 4)).has_value());
}

TEST_F(KernelTest, ElfSegmentsThatOverlapAreRefused) {
    Image elf = good_elf();
    elf.put<std::uint32_t>(kPhdr1, 1)
        .put<std::uint64_t>(kPhdr1 + 24, kLoadAt + 0x1fff)
        .put<std::uint64_t>(kPhdr1 + 40, 0x100);
    expect_refused(elf, "kernel ELF segments overlap");
}

TEST_F(KernelTest, ElfWithoutPvhNoteIsRefusedAndSaysSo) {
    expect_refused(good_elf().put<std::uint32_t>(kNotes + 20, 17),
                   "kernel ELF has no PVH entry note (built without CONFIG_PVH?)");
    // Sizes that would step over the end of the notes, or wrap around.
    expect_refused(good_elf().put<std::uint32_t>(kNotes + 4, 0xffffffff),
                   "kernel ELF has no PVH entry note (built without CONFIG_PVH?)");
    expect_refused(good_elf().put<std::uint32_t>(kNotes + 12, 0xfffffffd),
                   "kernel ELF has no PVH entry note (built without CONFIG_PVH?)");
}

TEST_F(KernelTest, ElfEntryOutsideItsSegmentsIsRefused) {
    expect_refused(good_elf().put<std::uint32_t>(kNotes + 28, 0x100000),
                   "kernel ELF's entry point lies outside its segments");
}

constexpr std::size_t kSetupSize = 2 * 512;
Image good_bzimage() {
    Image image{kSetupSize + 0x1000};
    image.put<std::uint8_t>(0x1f1, 1).put<std::uint32_t>(0x1f4, 0x100);
    image.put<std::uint16_t>(0x1fe, 0xaa55).put<std::uint16_t>(0x200, 0x6aeb).text(0x202, "HdrS");
    image.put<std::uint16_t>(0x206, 0x020f).put<std::uint32_t>(0x22c, 0x7fffffff);
    image.put<std::uint32_t>(0x230, 0x200000).put<std::uint8_t>(0x234, 1).put<std::uint16_t>(0x236, 1);
    image.put<std::uint32_t>(0x238, 2047)
        .put<std::uint64_t>(0x258, 0x1000000)
        .put<std::uint32_t>(0x260, 0x800000);
    image.text(kSetupSize, "protected mode");
    return image;
}

TEST_F(KernelTest, BzImageIsLoadedAlignedAndEnteredAtIts64BitEntry) {
    const auto kernel = load(good_bzimage());
    ASSERT_TRUE(kernel.has_value()) << kernel.error().what;
    EXPECT_EQ(kernel->mode, kvm::EntryState::Mode::Long64);
    EXPECT_EQ(kernel->entry, GuestAddr{0x200200});
    EXPECT_EQ(kernel->end, GuestAddr{0x1800000});  // room to unpack from the preferred address on
    EXPECT_EQ(kernel->setup_header.size(), 0x202U + 0x6a - 0x1f1);
    EXPECT_EQ(kernel->cmdline_limit, 2047U);
    EXPECT_EQ(kernel->initrd_limit, 0x7fffffffU);
}

TEST_F(KernelTest, BzImageThatIsNoneOrTooOldIsRefused) {
    expect_refused(Image{2}, "kernel file is too short to be one");
    expect_refused(Image{0x200}, "kernel is neither an ELF nor a bzImage (too short)");
    expect_refused(Image{0x2000}, "kernel is neither an ELF nor a bzImage");
    expect_refused(good_bzimage().put<std::uint16_t>(0x206, 0x020b),
                   "bzImage is older than boot protocol 2.12");
    expect_refused(good_bzimage().put<std::uint16_t>(0x236, 0), "bzImage has no 64-bit entry point");
    expect_refused(good_bzimage().put<std::uint8_t>(0x201, 0x20), "bzImage has a short setup header");
}

TEST_F(KernelTest, BzImageThatIsCutOffIsRefused) {
    Image image = good_bzimage();
    image.resize(kSetupSize + 0x200);
    expect_refused(image, "bzImage is truncated: it has no kernel part");
    image = good_bzimage();
    image.resize(kSetupSize + 0xfff);
    expect_refused(image, "bzImage is truncated");
    expect_refused(good_bzimage().put<std::uint32_t>(0x1f4, 0xffffffff), "bzImage is truncated");
    expect_refused(good_bzimage().put<std::uint8_t>(0x1f1, 255),
                   "bzImage is truncated: it has no kernel part");
}

TEST_F(KernelTest, BzImageThatDoesNotFitIsRefused) {
    expect_refused(good_bzimage().put<std::uint32_t>(0x260, 0x3000001),
                   "guest memory is too small for this kernel");
    expect_refused(good_bzimage().put<std::uint32_t>(0x260, 0xffffffff),
                   "guest memory is too small for this kernel");
    expect_refused(good_bzimage().put<std::uint64_t>(0x258, ~0ULL),
                   "bzImage wants to be loaded outside guest RAM");
    expect_refused(good_bzimage().put<std::uint32_t>(0x230, 0x300000), "bzImage has an impossible alignment");
    expect_refused(good_bzimage().put<std::uint32_t>(0x230, 0x80000000),
                   "bzImage has an impossible alignment");
    expect_refused(good_bzimage().put<std::uint8_t>(0x234, 0).put<std::uint64_t>(0x258, 0x1000),
                   "bzImage wants to be loaded outside guest RAM");
}

}  // namespace
}  // namespace holdfast::boot
