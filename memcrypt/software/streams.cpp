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
    for (Stream& stream : streams_) {
        if (stream.used < oldest->used) oldest = &stream;
        if (stream.used == 0) continue;
        const std::int64_t distance = std::int64_t{page} - stream.last;
        // Right behind what was opened ahead: it has all been used, or at least been passed.
        const std::int64_t next = std::int64_t{stream.stride} * (std::int64_t{stream.ahead} + 1);
        if (stream.stride != 0 && distance == next) {
            const std::uint32_t proved = stream.ahead;
            stream.ahead = std::min(std::max(2 * proved, kFirstAhead), most_);
            stream.last = page;
            stream.used = clock_;
            return {.stride = stream.stride, .count = stream.ahead, .proved = proved};
        }
        if (distance != 0 && std::abs(distance) <= kMostStride && stream.ahead == 0) near = &stream;
    }
    if (near != nullptr) {
        near->stride = static_cast<std::int32_t>(std::int64_t{page} - near->last);
        near->last = page;
        near->used = clock_;
        return {};
    }
    *oldest = {.last = page, .stride = 0, .ahead = 0, .used = clock_};
    return {};
}

}  // namespace holdfast::memcrypt::software
