// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/block.hpp"

#include <algorithm>

#include "sys/wire/endian.hpp"
#include "vmm/virtio/spec.hpp"

namespace holdfast::virtio {

namespace {

constexpr std::uint64_t kSector = 512;
constexpr std::array<std::uint16_t, 1> kQueues{Block::kQueueSize};

// §5.2.3, feature bits.
constexpr std::uint64_t F_SIZE_MAX = 1ULL << 1;
constexpr std::uint64_t F_SEG_MAX = 1ULL << 2;
constexpr std::uint64_t F_RO = 1ULL << 5;
constexpr std::uint64_t F_BLK_SIZE = 1ULL << 6;
constexpr std::uint64_t F_FLUSH = 1ULL << 9;
constexpr std::uint64_t F_DISCARD = 1ULL << 13;
constexpr std::uint64_t F_WRITE_ZEROES = 1ULL << 14;

// §5.2.6, request types and statuses.
enum Type : std::uint32_t {
    T_IN = 0,
    T_OUT = 1,
    T_FLUSH = 4,
    T_GET_ID = 8,
    T_DISCARD = 11,
    T_WRITE_ZEROES = 13
};
constexpr std::uint8_t S_OK = 0;
constexpr std::uint8_t S_IOERR = 1;
constexpr std::uint8_t S_UNSUPP = 2;
constexpr std::uint32_t WRITE_ZEROES_F_UNMAP = 1;

struct Header {
    Le<std::uint32_t> type;      // 0
    Le<std::uint32_t> reserved;  // 4
    Le<std::uint64_t> sector;    // 8
};
static_assert(sizeof(Header) == 16 && alignof(Header) == 1);

struct RangeHeader {                // struct virtio_blk_discard_write_zeroes
    Le<std::uint64_t> sector;       // 0
    Le<std::uint32_t> num_sectors;  // 8
    Le<std::uint32_t> flags;        // 12
};
static_assert(sizeof(RangeHeader) == 16 && alignof(RangeHeader) == 1);

struct Config {                                  // §5.2.4
    Le<std::uint64_t> capacity;                  //  0
    Le<std::uint32_t> size_max;                  //  8
    Le<std::uint32_t> seg_max;                   // 12
    std::array<std::uint8_t, 4> geometry;        // 16
    Le<std::uint32_t> blk_size;                  // 20
    std::array<std::uint8_t, 8> topology;        // 24
    std::uint8_t writeback;                      // 32
    std::uint8_t unused0;                        // 33
    Le<std::uint16_t> num_queues;                // 34
    Le<std::uint32_t> max_discard_sectors;       // 36
    Le<std::uint32_t> max_discard_seg;           // 40
    Le<std::uint32_t> discard_sector_alignment;  // 44
    Le<std::uint32_t> max_write_zeroes_sectors;  // 48
    Le<std::uint32_t> max_write_zeroes_seg;      // 52
    std::uint8_t write_zeroes_may_unmap;         // 56
    std::array<std::uint8_t, 3> unused1;         // 57
};
static_assert(sizeof(Config) == 60 && offsetof(Config, max_discard_sectors) == 36);

// A range crosses as one request, whose length is 32 bits of bytes.
constexpr std::uint32_t kMaxRangeSectors = 0x7fffffff / kSector;

std::uint8_t status_of(io::Status status) noexcept {
    switch (status) {
        case io::Status::Ok: return S_OK;
        case io::Status::Unsupported: return S_UNSUPP;
        case io::Status::IoError:
        case io::Status::ReadOnly:
        case io::Status::OutOfRange:
        case io::Status::NoSpace: return S_IOERR;
    }
    return S_IOERR;
}

bool carries_data(io::Op op) noexcept { return op == io::Op::Read || op == io::Op::Write; }

}  // namespace

Block::Block(const memcrypt::GuestMemory& memory, io::Client& client, const BlockShape& shape)
    : memory_{memory},
      client_{client},
      disk_{shape.disk},
      sectors_{shape.size_bytes / kSector},
      read_only_{shape.read_only} {
    const auto serial =
        std::as_bytes(std::span{shape.serial}).first(std::min(shape.serial.size(), kSerialSize));
    std::ranges::copy(serial, serial_.begin());
    static_assert(sizeof(Config) == kConfigSize);
    const Config config{.capacity = sectors_,
                        .size_max = static_cast<std::uint32_t>(io::kSlotSize),
                        .seg_max = kMaxDataSegments,
                        .geometry = {},
                        .blk_size = static_cast<std::uint32_t>(kSector),
                        .topology = {},
                        .writeback = 0,
                        .unused0 = 0,
                        .num_queues = 1,
                        .max_discard_sectors = kMaxRangeSectors,
                        .max_discard_seg = 1,
                        .discard_sector_alignment = 1,
                        .max_write_zeroes_sectors = kMaxRangeSectors,
                        .max_write_zeroes_seg = 1,
                        .write_zeroes_may_unmap = 1,
                        .unused1 = {}};
    std::ranges::copy(std::as_bytes(std::span{&config, 1}), config_.begin());
    requests_.reserve(kQueueSize);
    free_.reserve(kQueueSize);
}

Description Block::describe() const noexcept {
    return {.name = "virtio-block",
            .type = spec::TYPE_BLOCK,
            .pci_class = 0x010000,
            .features = F_SIZE_MAX | F_SEG_MAX | F_BLK_SIZE | F_FLUSH |
                        (read_only_ ? F_RO : F_DISCARD | F_WRITE_ZEROES),
            .queues = kQueues,
            .config = config_,
            .resource = disk_};
}

void Block::start(std::span<Queue> queues, std::uint64_t) noexcept { queue_ = &queues[0]; }

void Block::stop() noexcept {
    queue_ = nullptr;
    waiting_.reset();
    free_.clear();
    for (std::uint32_t i = 0; i < requests_.size(); ++i) free_.push_back(i);
}

std::optional<std::uint32_t> Block::take_request() {
    if (free_.empty()) {
        if (requests_.size() == kQueueSize) return std::nullopt;
        requests_.push_back(std::make_unique<Request>());
        return static_cast<std::uint32_t>(requests_.size() - 1);
    }
    const std::uint32_t index = free_.back();
    free_.pop_back();
    return index;
}

Result<void> Block::run() noexcept {
    if (queue_ == nullptr) return {};
    for (int budget = kChainsPerRun; budget > 0; --budget) {
        if (!waiting_) {
            const auto index = take_request();
            if (!index) break;
            free_.push_back(*index);  // ours only if it has something to do
            Request& request = *requests_[*index];
            if (!HF_TRY(queue_->pop(request.chain))) break;
            if (HF_TRY(judge(request)) == Verdict::Done) continue;
            free_.pop_back();
            waiting_ = index;
        }
        if (!HF_TRY(issue(*waiting_))) break;  // the next completion makes room
        waiting_.reset();
    }
    queue_->set_wanted(!waiting_ && (!free_.empty() || requests_.size() < kQueueSize));
    return {};
}

/// Writes the status byte, which is the last writable one, and gives the chain back. `written`
/// bytes at the front of the writable part were filled before.
Result<Block::Verdict> Block::answer(const Request& request, std::uint8_t status, std::uint64_t written) {
    const std::uint64_t at = request.chain.writable_bytes() - 1;
    HF_TRY(scatter(memory_, request.chain.writable(), at, std::as_bytes(std::span{&status, 1})));
    // The used length promises that many bytes from the front (§2.7.8.2), so a status behind data
    // that was not written does not count.
    queue_->push(request.chain.head(), static_cast<std::uint32_t>(written == at ? written + 1 : written));
    return Verdict::Done;
}

bool Block::lies_on_disk(std::uint64_t sector, std::uint64_t sectors) const noexcept {
    return sector <= sectors_ && sectors <= sectors_ - sector;
}

Result<Block::Verdict> Block::judge(Request& request) {
    const Chain& chain = request.chain;
    if (chain.readable_bytes() < sizeof(Header) || chain.writable_bytes() < 1) {
        return guest_fault("block request without header or status");
    }
    Header header;
    HF_TRY(gather(memory_, chain.readable(), 0, std::as_writable_bytes(std::span{&header, 1})));
    request.status = S_OK;
    request.taken = Clock::now();
    request.issued = 0;
    request.parts_in_flight = 0;
    switch (header.type.get()) {
        case T_IN:
            request.op = io::Op::Read;
            return judge_data(request, header.sector.get(), chain.writable_bytes() - 1);
        case T_OUT:
            request.op = io::Op::Write;
            return judge_data(request, header.sector.get(), chain.readable_bytes() - sizeof header);
        case T_FLUSH:
            request.op = io::Op::Flush;
            request.bytes = 0;
            request.disk_offset = 0;
            return Verdict::Issue;
        case T_GET_ID:
            if (chain.writable_bytes() - 1 < kSerialSize) return answer(request, S_IOERR);
            HF_TRY(scatter(memory_, chain.writable(), 0, serial_));
            return answer(request, S_OK, kSerialSize);
        case T_DISCARD: request.op = io::Op::Discard; return judge_range(request);
        case T_WRITE_ZEROES: request.op = io::Op::WriteZeroes; return judge_range(request);
        default: return answer(request, S_UNSUPP);
    }
}

Result<Block::Verdict> Block::judge_data(Request& request, std::uint64_t sector, std::uint64_t bytes) {
    if (bytes % kSector != 0 || bytes > kMaxData || !lies_on_disk(sector, bytes / kSector)) {
        return answer(request, S_IOERR);
    }
    if (request.op == io::Op::Write && read_only_) return answer(request, S_IOERR);  // §5.2.6.2
    if (bytes == 0) return answer(request, S_OK);
    request.disk_offset = sector * kSector;
    request.bytes = static_cast<std::uint32_t>(bytes);
    return Verdict::Issue;
}

Result<Block::Verdict> Block::judge_range(Request& request) {
    if (read_only_) return answer(request, S_IOERR);
    // One segment, as the configuration says.
    if (request.chain.readable_bytes() != sizeof(Header) + sizeof(RangeHeader))
        return answer(request, S_IOERR);
    RangeHeader range;
    HF_TRY(gather(memory_, request.chain.readable(), sizeof(Header),
                  std::as_writable_bytes(std::span{&range, 1})));
    const std::uint32_t sectors = range.num_sectors.get();
    if (sectors > kMaxRangeSectors || !lies_on_disk(range.sector.get(), sectors))
        return answer(request, S_IOERR);
    // §5.2.6.2: unknown flags, and unmap with a discard, are unsupported. That zeroes may be
    // unmapped is a permission; the I/O process decides.
    const std::uint32_t allowed = request.op == io::Op::WriteZeroes ? WRITE_ZEROES_F_UNMAP : 0;
    if ((range.flags.get() & ~allowed) != 0) return answer(request, S_UNSUPP);
    if (sectors == 0) return answer(request, S_OK);
    request.disk_offset = range.sector.get() * kSector;
    request.bytes = static_cast<std::uint32_t>(sectors * kSector);
    return Verdict::Issue;
}

/// Queues what is left of a request; false when slots or ring entries ran out before its end.
Result<bool> Block::issue(std::uint32_t index) {
    Request& request = *requests_[index];
    do {
        io::Request part{.op = request.op,
                         .resource = disk_,
                         .offset = request.disk_offset + request.issued,
                         .length = request.bytes - request.issued,
                         .slot = {},
                         .cookie = std::uint64_t{index} << 32 | request.issued};
        if (carries_data(request.op)) {
            auto slot = client_.take_slot();
            if (!slot) return false;
            part.slot = std::move(*slot);
            part.length = std::min(part.length, static_cast<std::uint32_t>(io::kSlotSize));
            if (request.op == io::Op::Write) {
                HF_TRY(gather(memory_, request.chain.readable(), sizeof(Header) + request.issued,
                              part.slot.bytes(part.length)));
            }
        }
        const std::uint32_t length = part.length;
        if (!client_.submit(part)) return false;
        request.issued += length;
        ++request.parts_in_flight;
        ++parts_in_flight_;
    } while (request.issued < request.bytes);
    return true;
}

void Block::count(const Request& request) noexcept {
    if (request.status != S_OK) return;
    BlockTally* tally = &reads_;
    switch (request.op) {
        case io::Op::Write:
        case io::Op::WriteZeroes: tally = &writes_; break;
        case io::Op::Flush: tally = &flushes_; break;
        case io::Op::Discard: tally = &discards_; break;
        default: break;
    }
    const auto add = [](std::atomic<std::uint64_t>& sum, std::uint64_t more) {
        sum.store(sum.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
    };
    add(tally->operations, 1);
    add(tally->bytes, request.bytes);
    add(tally->nanoseconds,
        static_cast<std::uint64_t>((Clock::now() - request.taken) / std::chrono::nanoseconds{1}));
}

Result<void> Block::complete(io::Completion completion) noexcept {
    const auto index = static_cast<std::uint32_t>(completion.cookie >> 32);
    const auto offset = static_cast<std::uint32_t>(completion.cookie);
    check(index < requests_.size(), "completion of an unknown block request");
    Request& request = *requests_[index];
    --parts_in_flight_;
    --request.parts_in_flight;
    std::uint8_t status = status_of(completion.status);
    if (status == S_OK && request.op == io::Op::Read) {
        const auto asked = std::min<std::uint32_t>(request.bytes - offset, io::kSlotSize);
        if (completion.length == asked) {
            HF_TRY(scatter(memory_, request.chain.writable(), offset, completion.slot.bytes(asked)));
        } else {
            status = S_IOERR;
        }
    }
    if (request.status == S_OK) request.status = status;
    if (request.parts_in_flight != 0 || request.issued < request.bytes) return {};
    free_.push_back(index);
    count(request);
    const bool read = request.op == io::Op::Read && request.status == S_OK;
    HF_TRY(answer(request, request.status, read ? request.bytes : 0));
    return {};
}

}  // namespace holdfast::virtio
