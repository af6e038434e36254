// SPDX-License-Identifier: Apache-2.0
// Linux x86 boot protocol (Documentation/arch/x86/boot.rst), 2.12 and later, entered at its 64-bit
// entry point. Real mode and the 32-bit entry are left out.
#include <algorithm>
#include <cstring>

#include "sys/wire/endian.hpp"
#include "vmm/boot/kernel.hpp"
#include "vmm/boot/layout.hpp"

namespace holdfast::boot {
namespace {

namespace wire {
// The part of the file from 0x1f1 on; offsets on the right are those of the protocol's table.
struct SetupHeader {
    std::uint8_t setup_sects;  // 0x1f1
    Le<std::uint16_t> root_flags;
    Le<std::uint32_t> syssize;  // 0x1f4
    Le<std::uint16_t> ram_size;
    Le<std::uint16_t> vid_mode;
    Le<std::uint16_t> root_dev;
    Le<std::uint16_t> boot_flag;  // 0x1fe
    Le<std::uint16_t> jump;       // 0x200; its second byte is the length of what follows
    Le<std::uint32_t> header;     // 0x202
    Le<std::uint16_t> version;    // 0x206
    Le<std::uint32_t> realmode_swtch;
    Le<std::uint16_t> start_sys_seg;
    Le<std::uint16_t> kernel_version;
    std::uint8_t type_of_loader;  // 0x210
    std::uint8_t loadflags;       // 0x211
    Le<std::uint16_t> setup_move_size;
    Le<std::uint32_t> code32_start;   // 0x214
    Le<std::uint32_t> ramdisk_image;  // 0x218
    Le<std::uint32_t> ramdisk_size;
    Le<std::uint32_t> bootsect_kludge;
    Le<std::uint16_t> heap_end_ptr;  // 0x224
    std::uint8_t ext_loader_ver;
    std::uint8_t ext_loader_type;
    Le<std::uint32_t> cmd_line_ptr;     // 0x228
    Le<std::uint32_t> initrd_addr_max;  // 0x22c
    Le<std::uint32_t> kernel_alignment;
    std::uint8_t relocatable_kernel;  // 0x234
    std::uint8_t min_alignment;
    Le<std::uint16_t> xloadflags;    // 0x236
    Le<std::uint32_t> cmdline_size;  // 0x238
    Le<std::uint32_t> hardware_subarch;
    Le<std::uint64_t> hardware_subarch_data;
    Le<std::uint32_t> payload_offset;  // 0x248
    Le<std::uint32_t> payload_length;
    Le<std::uint64_t> setup_data;
    Le<std::uint64_t> pref_address;  // 0x258
    Le<std::uint32_t> init_size;     // 0x260
};
static_assert(sizeof(SetupHeader) == 0x264 - 0x1f1);
static_assert(offsetof(SetupHeader, header) == 0x202 - 0x1f1);
static_assert(offsetof(SetupHeader, pref_address) == 0x258 - 0x1f1);
}  // namespace wire

constexpr std::uint64_t kHeaderOffset = 0x1f1;
constexpr std::uint64_t kSectorSize = 512;
constexpr std::uint32_t kMagic = 0x53726448;  // "HdrS"
constexpr std::uint16_t kMinVersion = 0x020c;
constexpr std::uint16_t XLF_KERNEL_64 = 1;
constexpr std::uint64_t kEntry64Offset = 0x200;
constexpr std::uint64_t kMaxAlignment = 1ULL << 30;

struct Placement {
    std::uint64_t load;
    std::uint64_t end;  ///< of what the kernel needs while it unpacks itself
};

Result<wire::SetupHeader> read_header(const UniqueFd& file) {
    if (HF_TRY(file_size(file)) < kHeaderOffset + sizeof(wire::SetupHeader)) {
        return input_error("kernel is neither an ELF nor a bzImage (too short)");
    }
    wire::SetupHeader header;
    HF_TRY(pread_exact(file, std::as_writable_bytes(std::span{&header, 1}), kHeaderOffset));
    if (header.boot_flag.get() != 0xaa55 || header.header.get() != kMagic) {
        return input_error("kernel is neither an ELF nor a bzImage");
    }
    if (header.version.get() < kMinVersion) return input_error("bzImage is older than boot protocol 2.12");
    if ((header.xloadflags.get() & XLF_KERNEL_64) == 0)
        return input_error("bzImage has no 64-bit entry point");
    return header;
}

/// Where the kernel goes so that it can unpack itself in place, inside RAM below the hole.
Result<Placement> place(const memcrypt::GuestMemory& memory, const wire::SetupHeader& header,
                        std::uint64_t image_size) {
    const std::uint64_t alignment = std::max<std::uint64_t>(header.kernel_alignment.get(), kPageSize);
    if ((alignment & (alignment - 1)) != 0 || alignment > kMaxAlignment) {
        return input_error("bzImage has an impossible alignment");
    }
    const std::uint64_t preferred = header.pref_address.get();
    const std::uint64_t ram = low_ram_end(memory);
    const std::uint64_t load =
        header.relocatable_kernel != 0 ? (kHighMemory.value() + alignment - 1) & ~(alignment - 1) : preferred;
    if (load < kHighMemory.value() || load > ram || preferred > ram) {
        return input_error("bzImage wants to be loaded outside guest RAM");
    }
    const std::uint64_t runs_at = std::max(load, preferred);
    const std::uint64_t needs = std::max<std::uint64_t>(header.init_size.get(), image_size);
    if (needs > ram - runs_at) return input_error("guest memory is too small for this kernel");
    return Placement{load, runs_at + needs};
}

}  // namespace

Result<Kernel> load_bzimage(Loader& loader, const UniqueFd& file) {
    const wire::SetupHeader header = HF_TRY(read_header(file));
    const std::uint64_t sectors = header.setup_sects == 0 ? 4 : header.setup_sects;
    const std::uint64_t setup_size = (sectors + 1) * kSectorSize;
    const std::uint64_t total = HF_TRY(file_size(file));
    if (total <= setup_size + kEntry64Offset)
        return input_error("bzImage is truncated: it has no kernel part");
    const std::uint64_t image_size = total - setup_size;
    // syssize counts 16-byte paragraphs of the protected-mode part; less of it in the file is a cut.
    if (image_size < std::uint64_t{header.syssize.get()} * 16) return input_error("bzImage is truncated");
    const Placement placement = HF_TRY(place(loader.memory(), header, image_size));
    HF_TRY(loader.load(GuestAddr{placement.load}, file, setup_size, image_size));

    // The header's length is in its own jump instruction; it must reach the fields we change.
    const std::size_t length = 0x202 - kHeaderOffset + (header.jump.get() >> 8);
    if (length < offsetof(wire::SetupHeader, init_size))
        return input_error("bzImage has a short setup header");
    Kernel kernel;
    kernel.mode = kvm::EntryState::Mode::Long64;
    kernel.entry = GuestAddr{placement.load + kEntry64Offset};
    kernel.end = GuestAddr{placement.end};
    kernel.setup_header.resize(length);
    HF_TRY(pread_exact(file, kernel.setup_header, kHeaderOffset));
    kernel.initrd_limit = header.initrd_addr_max.get();
    kernel.cmdline_limit = header.cmdline_size.get();
    return kernel;
}

}  // namespace holdfast::boot
