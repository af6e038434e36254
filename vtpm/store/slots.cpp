// SPDX-License-Identifier: Apache-2.0
#include "vtpm/store/slots.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <unistd.h>

#include "sys/wire/endian.hpp"

namespace holdfast::vtpm::store {
namespace {

struct IdentityBlock {
    std::array<char, 8> magic;
    Le<std::uint32_t> format;
    Le<std::uint32_t> checksum;  // of the block, with this field zero
    Id id;
    Le<std::uint64_t> created;
    std::array<char, kMaxName + 1> name;
};
struct MarkBlock {
    std::array<char, 8> magic;
    Le<std::uint32_t> zero;
    Le<std::uint32_t> checksum;
    Le<std::uint64_t> version;
};
struct SlotHead {
    std::array<char, 8> magic;
    Le<std::uint32_t> length;
    Le<std::uint32_t> checksum;  // of head (with this field zero) and blob
    Le<std::uint64_t> version;
};
static_assert(alignof(IdentityBlock) == 1 && sizeof(SlotHead) == 24 && sizeof(MarkBlock) == 24);
static_assert(sizeof(SlotHead) + kMaxBlob <= kSlotBytes);

constexpr std::array<char, 8> kFileMagic{'H', 'F', 'V', 'T', 'P', 'M', 'S', 'T'};
constexpr std::array<char, 8> kMarkMagic{'H', 'F', 'D', 'U', 'R', 'A', 'B', 'L'};
constexpr std::array<char, 8> kSlotMagic{'H', 'F', 'V', 'T', 'P', 'M', 'S', 'L'};
constexpr std::uint32_t kFormat = 1;

// CRC-32C (RFC 3720, appendix B.4). It finds torn and rotten blocks; against whoever changes them on
// purpose stands the seal.
constexpr std::array<std::uint32_t, 256> kCrcTable = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < table.size(); ++i) {
        std::uint32_t value = i;
        for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0x82f63b78U : 0U);
        table[i] = value;
    }
    return table;
}();

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before = 0) noexcept {
    std::uint32_t crc = ~before;
    for (const std::byte byte : bytes) {
        crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<std::uint32_t>(byte)) & 0xff];
    }
    return ~crc;
}

template <typename Block>
std::uint32_t checksum_of(Block block, std::span<const std::byte> behind = {}) noexcept {
    block.checksum = std::uint32_t{0};
    return crc32c(behind, crc32c(std::as_bytes(std::span{&block, 1})));
}

template <typename Block>
Result<Block> read_block(Disk& disk, std::uint64_t offset) {
    Block block;
    HF_TRY(disk.read(std::as_writable_bytes(std::span{&block, 1}), offset));
    return block;
}

std::uint64_t offset_of(std::uint64_t version) { return kSlotsOffset + version % kSlots * kSlotBytes; }

struct Slot {
    std::uint64_t version = 0;
    std::vector<std::byte> blob;
};

/// None: torn, rotten or never written, which look alike.
Result<std::optional<Slot>> read_slot(Disk& disk, std::size_t index) {
    const std::uint64_t offset = kSlotsOffset + index * kSlotBytes;
    const auto head = HF_TRY(read_block<SlotHead>(disk, offset));
    const std::uint32_t length = head.length.get();
    const std::uint64_t version = head.version.get();
    if (head.magic != kSlotMagic || length > kMaxBlob || version == 0 || version % kSlots != index) {
        return std::optional<Slot>{};
    }
    Slot slot{.version = version, .blob = std::vector<std::byte>(length)};
    HF_TRY(disk.read(slot.blob, offset + sizeof head));
    if (checksum_of(head, slot.blob) != head.checksum.get()) return std::optional<Slot>{};
    return std::optional{std::move(slot)};
}

/// The version that is known to have been durable; 0 where the mark says nothing.
Result<std::uint64_t> read_mark(Disk& disk) {
    const auto mark = HF_TRY(read_block<MarkBlock>(disk, kMarkOffset));
    if (mark.magic != kMarkMagic || checksum_of(mark) != mark.checksum.get()) return std::uint64_t{0};
    return mark.version.get();
}

bool is_printable(char c) { return c > ' ' && c < 0x7f; }

}  // namespace

Result<void> FileDisk::write(std::span<const std::byte> bytes, std::uint64_t offset) {
    while (!bytes.empty()) {
        const ssize_t n = ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return os_error("write the state file");
        bytes = bytes.subspan(static_cast<std::size_t>(n));
        offset += static_cast<std::uint64_t>(n);
    }
    return {};
}

Result<void> FileDisk::sync() {
    if (::fdatasync(file_.get()) < 0) return os_error("sync the state file");
    return {};
}

Result<void> FileDisk::read(std::span<std::byte> bytes, std::uint64_t offset) {
    return pread_exact(file_, bytes, offset);
}

Result<std::uint64_t> FileDisk::size() { return file_size(file_); }

Result<void> format(Disk& disk, const Identified& owner) {
    if (owner.identity.name.size() > kMaxName) return input_error("the vTPM's name is too long");
    // All blocks are written once, so that a later sync has no allocation to write out.
    const std::vector<std::byte> zeros(kSlotBytes);
    for (std::uint64_t at = 0; at < kFileBytes; at += zeros.size()) {
        const auto size = std::min<std::uint64_t>(zeros.size(), kFileBytes - at);
        HF_TRY(disk.write(std::span{zeros}.first(size), at));
    }
    IdentityBlock block{.magic = kFileMagic,
                        .format = kFormat,
                        .checksum = std::uint32_t{0},
                        .id = owner.identity.id,
                        .created = owner.created,
                        .name = {}};
    std::ranges::copy(owner.identity.name, block.name.begin());
    block.checksum = checksum_of(block);
    HF_TRY(disk.write(std::as_bytes(std::span{&block, 1}), kIdentityOffset));
    return disk.sync();
}

Result<Identified> identify(Disk& disk) {
    if (HF_TRY(disk.size()) != kFileBytes) return input_error("the state file was cut, or is none");
    const auto block = HF_TRY(read_block<IdentityBlock>(disk, kIdentityOffset));
    if (block.magic != kFileMagic) return input_error("it is not a vTPM's state file");
    if (block.format.get() != kFormat) return input_error("the state file is of a later version of Holdfast");
    if (checksum_of(block) != block.checksum.get())
        return input_error("the head of the state file is damaged");
    const std::span name{block.name};
    const auto end = std::ranges::find(name, '\0');
    if (end == name.end() || end == name.begin() || !std::all_of(name.begin(), end, is_printable)) {
        return input_error("the head of the state file is damaged");
    }
    return Identified{.identity = {.id = block.id, .name = std::string{name.begin(), end}},
                      .created = block.created.get()};
}

Result<Slots> Slots::open(Disk& disk) {
    HF_TRY(identify(disk));
    Slot newest;
    for (std::size_t i = 0; i < kSlots; ++i) {
        auto slot = HF_TRY(read_slot(disk, i));
        if (slot && slot->version > newest.version) newest = std::move(*slot);
    }
    // A slot that was torn by a crash was never answered for, so the mark is not beyond the other one.
    if (newest.version < HF_TRY(read_mark(disk))) {
        return input_error("the newest state is damaged; the one before it would be a rollback");
    }
    return Slots{disk, newest.version, std::move(newest.blob)};
}

Result<void> Slots::write(std::span<const std::byte> blob) {
    if (blob.size() > kMaxBlob) return peer_fault("the blob is too long for a slot");
    if (std::exchange(went_back_, false)) {
        // Else a torn write of the next one would look like the loss of a durable version.
        HF_TRY(mark());
        HF_TRY(disk_->sync());
    }
    const std::uint64_t version = version_ + 1;
    SlotHead head{.magic = kSlotMagic,
                  .length = static_cast<std::uint32_t>(blob.size()),
                  .checksum = std::uint32_t{0},
                  .version = version};
    head.checksum = checksum_of(head, blob);
    scratch_.resize(sizeof head + blob.size());
    std::memcpy(scratch_.data(), &head, sizeof head);
    if (!blob.empty()) std::memcpy(scratch_.data() + sizeof head, blob.data(), blob.size());
    HF_TRY(disk_->write(scratch_, offset_of(version)));
    HF_TRY(disk_->sync());
    version_ = version;
    blob_.clear();  // only the first reader wants it
    return {};
}

Result<void> Slots::go_back() {
    auto slot = HF_TRY(read_slot(*disk_, (version_ + 1) % kSlots));
    if (!slot || slot->version + 1 != version_) return input_error("the state before the newest one is gone");
    version_ = slot->version;
    blob_ = std::move(slot->blob);
    went_back_ = true;
    return {};
}

Result<void> Slots::mark() {
    MarkBlock mark{
        .magic = kMarkMagic, .zero = std::uint32_t{0}, .checksum = std::uint32_t{0}, .version = version_};
    mark.checksum = checksum_of(mark);
    return disk_->write(std::as_bytes(std::span{&mark, 1}), kMarkOffset);
}

}  // namespace holdfast::vtpm::store
