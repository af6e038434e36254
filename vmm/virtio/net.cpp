// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/net.hpp"

#include <algorithm>

#include "sys/wire/endian.hpp"
#include "vmm/virtio/spec.hpp"

namespace holdfast::virtio {

namespace {

// §5.1.2 and §5.1.3.
constexpr std::size_t kReceive = 0;
constexpr std::size_t kTransmit = 1;
constexpr std::array<std::uint16_t, 2> kQueues{Net::kQueueSize, Net::kQueueSize};
constexpr std::uint64_t F_MTU = 1ULL << 3;
constexpr std::uint64_t F_MAC = 1ULL << 5;
constexpr std::uint64_t F_STATUS = 1ULL << 16;
constexpr std::uint16_t S_LINK_UP = 1;

struct Config {                             // §5.1.4
    std::array<std::uint8_t, 6> mac;        //  0
    Le<std::uint16_t> status;               //  6
    Le<std::uint16_t> max_virtqueue_pairs;  //  8
    Le<std::uint16_t> mtu;                  // 10
};
static_assert(sizeof(Config) == 12 && offsetof(Config, mtu) == 10);

struct Header {                     // §5.1.6
    std::uint8_t flags;             //  0
    std::uint8_t gso_type;          //  1
    Le<std::uint16_t> hdr_len;      //  2
    Le<std::uint16_t> gso_size;     //  4
    Le<std::uint16_t> csum_start;   //  6
    Le<std::uint16_t> csum_offset;  //  8
    Le<std::uint16_t> num_buffers;  // 10
};
static_assert(sizeof(Header) == 12 && offsetof(Header, num_buffers) == 10);

constexpr std::uint32_t kEthernetHeader = 18;  // with a VLAN tag

}  // namespace

Net::Net(const memcrypt::GuestMemory& memory, io::Client& client, const NetShape& shape)
    : memory_{memory},
      client_{client},
      largest_frame_{std::min<std::uint32_t>(shape.mtu + kEthernetHeader, io::kMaxFrame)},
      inbox_{client, io::kNet} {
    const Config config{.mac = shape.mac, .status = S_LINK_UP, .max_virtqueue_pairs = 1, .mtu = shape.mtu};
    static_assert(sizeof(Config) == kConfigSize);
    std::ranges::copy(std::as_bytes(std::span{&config, 1}), config_.begin());
}

Description Net::describe() const noexcept {
    return {.name = "virtio-net",
            .type = spec::TYPE_NET,
            .pci_class = 0x020000,
            .features = F_MTU | F_MAC | F_STATUS,
            .queues = kQueues,
            .config = config_,
            .resource = io::kNet};
}

void Net::stop() noexcept {
    queues_ = {};
    inbox_.clear();
}

Result<void> Net::run() noexcept {
    if (queues_.empty()) return {};
    HF_TRY(run_receive());
    HF_TRY(run_transmit());
    inbox_.post();
    return {};
}

Result<void> Net::complete(io::Completion completion) noexcept {
    if (completion.op == io::Op::Send) {
        --sends_;  // a frame that could not be sent is a lost frame
    } else {
        inbox_.accept(std::move(completion));
        if (queues_.empty()) inbox_.clear();
    }
    return {};
}

Result<void> Net::run_receive() {
    Queue& queue = queues_[kReceive];
    Chain chain;
    while (!inbox_.empty()) {  // at most Inbox::kDepth rounds
        const auto frame = inbox_.front();
        if (!HF_TRY(queue.pop(chain))) break;
        const Header header{.flags = 0,
                            .gso_type = 0,
                            .hdr_len = 0,
                            .gso_size = 0,
                            .csum_start = 0,
                            .csum_offset = 0,
                            .num_buffers = 1};
        // §5.1.6.3.1 makes buffers large enough for any frame; one that is not costs its frame.
        std::uint32_t written = 0;
        if (chain.writable_bytes() >= sizeof header + frame.size()) {
            HF_TRY(scatter(memory_, chain.writable(), 0, std::as_bytes(std::span{&header, 1})));
            HF_TRY(scatter(memory_, chain.writable(), sizeof header, frame));
            written = static_cast<std::uint32_t>(sizeof header + frame.size());
        }
        queue.push(chain.head(), written);
        inbox_.drop_front();
    }
    queue.set_wanted(!inbox_.empty());
    return {};
}

bool Net::may_send() noexcept {
    if (sends_ >= kMaxSends) return false;
    if (!spare_) {
        if (auto slot = client_.take_slot()) spare_ = std::move(*slot);
    }
    return static_cast<bool>(spare_);
}

Result<void> Net::run_transmit() {
    Queue& queue = queues_[kTransmit];
    Chain chain;
    for (int budget = kChainsPerRun; budget > 0 && HF_TRY(queue.has_chain()); --budget) {
        if (!may_send()) break;
        if (!HF_TRY(queue.pop(chain))) break;
        queue.push(chain.head(), 0);
        if (chain.readable_bytes() < sizeof(Header)) continue;
        Header header;
        HF_TRY(gather(memory_, chain.readable(), 0, std::as_writable_bytes(std::span{&header, 1})));
        // No offload was offered, so a frame that asks for one is dropped; so is one that cannot
        // be.
        const std::uint64_t size = chain.readable_bytes() - sizeof header;
        if (header.flags != 0 || header.gso_type != 0 || size == 0 || size > largest_frame_) continue;
        io::Request request{.op = io::Op::Send,
                            .resource = io::kNet,
                            .length = static_cast<std::uint32_t>(size),
                            .slot = std::move(spare_)};
        HF_TRY(gather(memory_, chain.readable(), sizeof header, request.slot.bytes(size)));
        if (client_.submit(request)) ++sends_;  // a full ring loses the frame, as a full wire would
    }
    queue.set_wanted(may_send());
    return {};
}

}  // namespace holdfast::virtio
