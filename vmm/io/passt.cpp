// SPDX-License-Identifier: Apache-2.0
#include "vmm/io/passt.hpp"

#include <cstring>

namespace holdfast::io {

std::span<std::byte> FrameDecoder::room() noexcept {
    if (begin_ == end_) {
        begin_ = end_ = 0;
    } else if (end_ - begin_ < begin_) {  // moves less than it frees
        std::memcpy(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
        end_ -= begin_;
        begin_ = 0;
    }
    return {buffer_.get() + end_, kCapacity - end_};
}

Result<std::optional<std::span<const std::byte>>> FrameDecoder::next() noexcept {
    using Frame = std::optional<std::span<const std::byte>>;
    FrameLength length;
    if (end_ - begin_ < sizeof length) return Frame{};
    std::memcpy(&length, buffer_.get() + begin_, sizeof length);
    const std::size_t size = length.get();
    if (size < kMinFrame || size > kMaxFrame) return peer_fault("frame length out of range");
    if (end_ - begin_ - sizeof length < size) return Frame{};
    const std::span<const std::byte> frame{buffer_.get() + begin_ + sizeof length, size};
    begin_ += sizeof length + size;
    return Frame{frame};
}

}  // namespace holdfast::io
