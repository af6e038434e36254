// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/vsock.hpp"

#include <algorithm>
#include <cstring>

#include "sys/log.hpp"
#include "sys/wire/endian.hpp"
#include "vmm/virtio/spec.hpp"

namespace holdfast::virtio {

namespace {

// §5.10.2. Queue 2 carries events; the only one there is, transport reset, never happens to us.
constexpr std::size_t kReceive = 0;
constexpr std::size_t kTransmit = 1;
constexpr std::size_t kEvent = 2;
constexpr std::array<std::uint16_t, 3> kQueues{Vsock::kQueueSize, Vsock::kQueueSize, 16};

struct Header {                   // §5.10.6
    Le<std::uint64_t> src_cid;    //  0
    Le<std::uint64_t> dst_cid;    //  8
    Le<std::uint32_t> src_port;   // 16
    Le<std::uint32_t> dst_port;   // 20
    Le<std::uint32_t> len;        // 24
    Le<std::uint16_t> type;       // 28
    Le<std::uint16_t> op;         // 30
    Le<std::uint32_t> flags;      // 32
    Le<std::uint32_t> buf_alloc;  // 36
    Le<std::uint32_t> fwd_cnt;    // 40
};
static_assert(sizeof(Header) == 44 && alignof(Header) == 1 && offsetof(Header, op) == 30);

/// What Linux guests send at most.
constexpr std::uint32_t kMaxGuestPayload = 64 * 1024;
static_assert(kMaxGuestPayload <= 2 * Vsock::kMaxPayload);

}  // namespace

Vsock::Vsock(const memcrypt::GuestMemory& memory, io::Client& client, std::uint32_t guest_cid)
    : memory_{memory}, client_{client}, guest_cid_{guest_cid}, inbox_{client, io::kVsock} {
    const Le<std::uint64_t> cid{guest_cid};  // §5.10.4
    std::ranges::copy(std::as_bytes(std::span{&cid, 1}), config_.begin());
}

Description Vsock::describe() const noexcept {
    return {.name = "virtio-vsock",
            .type = spec::TYPE_SOCKET,
            .pci_class = 0x078000,
            .queues = kQueues,
            .config = config_,
            .resource = io::kVsock};
}

void Vsock::stop() noexcept {
    queues_ = {};
    inbox_.clear();
    delivered_ = 0;
}

Result<void> Vsock::run() noexcept {
    if (queues_.empty()) return {};
    queues_[kEvent].set_wanted(false);
    HF_TRY(run_receive());
    HF_TRY(run_transmit());
    inbox_.post();
    return {};
}

Result<void> Vsock::complete(io::Completion completion) noexcept {
    if (completion.op == io::Op::Send) {
        --sends_;
    } else {
        inbox_.accept(std::move(completion));
        if (queues_.empty()) inbox_.clear();
    }
    return {};
}

Result<void> Vsock::run_receive() {
    Queue& queue = queues_[kReceive];
    Chain chain;
    for (int budget = kChainsPerRun; budget > 0 && !inbox_.empty(); --budget) {
        const auto message = inbox_.front();
        io::VsockPacket packet;
        const bool whole = message.size() >= sizeof packet;
        if (whole) std::memcpy(&packet, message.data(), sizeof packet);
        if (!whole || packet.len.get() != message.size() - sizeof packet) {
            log::warn("vsock.packet", peer_fault("malformed packet from the I/O process"));
            inbox_.drop_front();
            continue;
        }
        if (!HF_TRY(queue.pop(chain))) break;
        if (HF_TRY(deliver(chain, message))) continue;
        inbox_.drop_front();
        delivered_ = 0;
    }
    queue.set_wanted(!inbox_.empty());
    return {};
}

// A guest's buffer may be smaller than a packet (Linux posts 4 KiB). Stream data may be cut
// anywhere, so a packet becomes as many as it takes, each with the header again.
Result<bool> Vsock::deliver(const Chain& chain, std::span<const std::byte> message) {
    io::VsockPacket packet;
    std::memcpy(&packet, message.data(),
                sizeof packet);  // its len was checked, and is not used again
    const auto payload = message.subspan(sizeof packet).subspan(delivered_);
    const std::uint64_t room = chain.writable_bytes();
    if (room < sizeof(Header) || (room == sizeof(Header) && !payload.empty())) {
        return guest_fault("vsock receive buffer too small");
    }
    const auto piece = payload.first(std::min<std::uint64_t>(payload.size(), room - sizeof(Header)));
    const Header header{.src_cid = kHostCid,
                        .dst_cid = guest_cid_,
                        .src_port = packet.src_port,
                        .dst_port = packet.dst_port,
                        .len = static_cast<std::uint32_t>(piece.size()),
                        .type = packet.type,
                        .op = packet.op,
                        .flags = packet.flags,
                        .buf_alloc = packet.buf_alloc,
                        .fwd_cnt = packet.fwd_cnt};
    HF_TRY(scatter(memory_, chain.writable(), 0, std::as_bytes(std::span{&header, 1})));
    HF_TRY(scatter(memory_, chain.writable(), sizeof header, piece));
    queues_[kReceive].push(chain.head(), static_cast<std::uint32_t>(sizeof header + piece.size()));
    delivered_ += static_cast<std::uint32_t>(piece.size());
    return piece.size() < payload.size();
}

bool Vsock::may_send() noexcept {
    if (sends_ + spares_.size() > kMaxSends) return false;
    for (io::Slot& spare : spares_) {
        if (spare) continue;
        auto slot = client_.take_slot();
        if (!slot) return false;
        spare = std::move(*slot);
    }
    return true;
}

Result<void> Vsock::run_transmit() {
    Queue& queue = queues_[kTransmit];
    Chain chain;
    for (int budget = kChainsPerRun; budget > 0 && HF_TRY(queue.has_chain()); --budget) {
        if (!may_send()) break;
        if (!HF_TRY(queue.pop(chain))) break;
        queue.push(chain.head(), 0);
        HF_TRY(send(chain));
    }
    queue.set_wanted(may_send());
    return {};
}

Result<void> Vsock::send(const Chain& chain) {
    if (chain.readable_bytes() < sizeof(Header)) return guest_fault("vsock packet without header");
    Header header;
    HF_TRY(gather(memory_, chain.readable(), 0, std::as_writable_bytes(std::span{&header, 1})));
    const std::uint32_t size = header.len.get();
    // §5.10.6.4.1: packets with another source or destination than the two there are, are dropped;
    // so is one whose length is a lie.
    if (header.src_cid.get() != guest_cid_ || header.dst_cid.get() != kHostCid || size > kMaxGuestPayload ||
        size > chain.readable_bytes() - sizeof header) {
        log::warn("vsock.dropped", {{"op", header.op.get()}, {"len", size}});
        return {};
    }
    std::uint32_t done = 0;
    for (io::Slot& spare : spares_) {
        const std::uint32_t piece = std::min(size - done, kMaxPayload);
        const io::VsockPacket packet{.src_port = header.src_port,
                                     .dst_port = header.dst_port,
                                     .len = piece,
                                     .flags = header.flags,
                                     .buf_alloc = header.buf_alloc,
                                     .fwd_cnt = header.fwd_cnt,
                                     .op = header.op,
                                     .type = header.type,
                                     .reserved = 0};
        io::Request request{.op = io::Op::Send,
                            .resource = io::kVsock,
                            .length = static_cast<std::uint32_t>(sizeof packet + piece),
                            .slot = std::move(spare)};
        const auto target = request.slot.bytes(request.length);
        std::memcpy(target.data(), &packet, sizeof packet);
        HF_TRY(gather(memory_, chain.readable(), sizeof header + done, target.subspan(sizeof packet)));
        // Losing a packet would break the connection's byte count, so there must be room: the ring
        // has an entry for each slot.
        if (!client_.submit(request)) {
            log::error("vsock.lost", peer_fault("request ring full"));
            return {};
        }
        ++sends_;
        done += piece;
        if (done == size) break;
    }
    return {};
}

}  // namespace holdfast::virtio
