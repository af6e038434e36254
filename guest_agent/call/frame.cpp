// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/call/frame.hpp"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "sys/wire/endian.hpp"

namespace holdfast::agent::call {
namespace {

namespace wire {
struct Header {
    Le<std::uint32_t> magic;     //  0
    Le<std::uint16_t> version;   //  4
    Le<std::uint8_t> kind;       //  6
    Le<std::uint8_t> zero;       //  7
    Le<std::uint16_t> service;   //  8
    Le<std::uint16_t> method;    // 10
    Le<std::uint32_t> length;    // 12
    Le<std::uint64_t> request;   // 16
    Le<std::uint64_t> sequence;  // 24
};
static_assert(sizeof(Header) == kHeaderBytes && alignof(Header) == 1);
static_assert(std::is_trivially_copyable_v<Header> && std::is_standard_layout_v<Header>);
}  // namespace wire

constexpr std::uint32_t kMagic = 0x4c434648;  // "HFCL"

std::optional<Kind> known_kind(std::uint8_t number) noexcept {
    if (number < static_cast<std::uint8_t>(Kind::Hello) ||
        number > static_cast<std::uint8_t>(Kind::Refusal)) {
        return std::nullopt;
    }
    return static_cast<Kind>(number);
}

}  // namespace

HeaderBytes encode(const Header& header) noexcept {
    const wire::Header ordered{.magic = kMagic,
                               .version = kVersion,
                               .kind = static_cast<std::uint8_t>(header.kind),
                               .zero = std::uint8_t{0},
                               .service = header.service,
                               .method = header.method,
                               .length = header.length,
                               .request = header.request,
                               .sequence = header.sequence};
    HeaderBytes bytes{};
    std::memcpy(bytes.data(), &ordered, sizeof ordered);
    return bytes;
}

Result<Header> decode(std::span<const std::byte, kHeaderBytes> bytes) {
    wire::Header ordered;
    std::memcpy(&ordered, bytes.data(), sizeof ordered);
    if (ordered.magic.get() != kMagic) return peer_fault("not a frame of calls");
    if (ordered.version.get() != kVersion) return peer_fault("frame of another version");
    const auto kind = known_kind(ordered.kind.get());
    if (!kind || ordered.zero.get() != 0) return peer_fault("frame of an unknown kind");
    if (ordered.length.get() > kMaxBody) return peer_fault("frame that is too long");
    return Header{.kind = *kind,
                  .service = ordered.service.get(),
                  .method = ordered.method.get(),
                  .length = ordered.length.get(),
                  .request = ordered.request.get(),
                  .sequence = ordered.sequence.get()};
}

Result<void> FrameReader::judge_header() {
    const auto header = decode(frame_.head);
    if (!header) {
        broken_ = header.error();
        return header.error();
    }
    frame_.header = *header;
    return {};
}

Result<std::optional<Frame>> FrameReader::take(Bytes& input) {
    if (broken_) return *broken_;
    if (filled_ < kHeaderBytes) {
        const std::size_t taken = std::min(input.size(), kHeaderBytes - filled_);
        std::ranges::copy(input.first(taken), frame_.head.begin() + static_cast<std::ptrdiff_t>(filled_));
        filled_ += taken;
        input = input.subspan(taken);
        if (filled_ < kHeaderBytes) return std::optional<Frame>{};
        HF_TRY(judge_header());
    }
    // The body grows with what has come: a header alone makes nobody allocate.
    const std::size_t taken = std::min(input.size(), frame_.header.length - frame_.body.size());
    frame_.body.insert(frame_.body.end(), input.begin(), input.begin() + static_cast<std::ptrdiff_t>(taken));
    filled_ += taken;
    input = input.subspan(taken);
    if (frame_.body.size() < frame_.header.length) return std::optional<Frame>{};
    filled_ = 0;
    return std::optional{std::exchange(frame_, Frame{})};
}

}  // namespace holdfast::agent::call
