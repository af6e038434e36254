// SPDX-License-Identifier: Apache-2.0
#include "memcrypt/software/streams.hpp"

#include <algorithm>
#include <cstdlib>

namespace holdfast::memcrypt::software {
namespace {

constexpr std::uint32_t kFirstAhead = 4;

}  // namespace

Streams::Advice Streams::on_fault(std::uint32_t page) noexcept {
    ++clock_;
    Stream* oldest = streams_.data();
    Stream* near = nullptr;
    std::int32_t near_stride = 0;
    for (Stream& stream : streams_) {
        if (stream.used < oldest->used) oldest = &stream;
        if (stream.used == 0) continue;
        const std::int64_t distance = std::int64_t{page} - stream.last;
        if (stream.stride != 0 && distance % stream.stride == 0) {
            const std::int64_t steps = distance / stream.stride;
            if (steps > 0 && steps <= std::int64_t{stream.ahead} + 1) return go_on(stream, page, steps);
        }
        if (stream.ahead > 0) continue;
        const std::int32_t stride = stride_to(stream, distance);
        if (stride != 0 && stride != distance && stride == stream.stride) return go_on(stream, page, 1);
        if (stride != 0) {
            near = &stream;
            near_stride = stride;
        }
    }
    latest_ = near != nullptr ? near : oldest;
    *latest_ = {.last = page, .stride = near_stride, .used = clock_};
    return {};
}

/// The stride of a run that came from the stream's last page to one at this distance; 0: too far.
std::int32_t Streams::stride_to(const Stream& stream, std::int64_t distance) noexcept {
    if (distance == std::int64_t{stream.above} + 1) return 1;
    if (-distance == std::int64_t{stream.below} + 1) return -1;
    return std::abs(distance) <= kMostStride ? static_cast<std::int32_t>(distance) : 0;
}

/// Right behind what was opened ahead, all of it has been passed: look farther. Short of that, some of it was
/// gone before it was used: not so far.
Streams::Advice Streams::go_on(Stream& stream, std::uint32_t page, std::int64_t steps) noexcept {
    const auto proved = static_cast<std::uint32_t>(steps) - 1;
    const bool all = proved == stream.ahead;
    stream.ahead =
        all ? std::min(std::max(2 * proved, kFirstAhead), most_) : std::max(proved / 2, kFirstAhead);
    stream.last = page;
    stream.below = stream.above = 0;
    stream.used = clock_;
    latest_ = &stream;
    return {.stride = stream.stride, .count = stream.ahead, .proved = proved};
}

void Streams::followed(std::uint32_t count) noexcept {
    if (latest_ != nullptr) latest_->ahead = count;
}

void Streams::open_beside(std::uint32_t below, std::uint32_t above) noexcept {
    if (latest_ == nullptr) return;
    latest_->below = below;
    latest_->above = above;
}

}  // namespace holdfast::memcrypt::software
