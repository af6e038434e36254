// SPDX-License-Identifier: Apache-2.0
#include "attest/crypto/der.hpp"

namespace holdfast::attest {
namespace {

constexpr std::uint8_t kLongTag = 0x1f;
constexpr std::size_t kLongLength = 0x80;

}  // namespace

Result<DerReader::Header> DerReader::header() const {
    if (rest_.size() < 2) return input_error("DER that ends too early");
    Header header{.tag = std::to_integer<std::uint8_t>(rest_[0]), .begin = 2, .size = 0};
    if ((header.tag & kLongTag) == kLongTag) return input_error("DER with a tag that is not read");
    header.size = std::to_integer<std::size_t>(rest_[1]);
    if (header.size >= kLongLength) {
        const std::size_t bytes = header.size - kLongLength;
        if (bytes == 0 || bytes > 2) return input_error("DER with a length that is not read");
        if (rest_.size() < 2 + bytes) return input_error("DER that ends too early");
        header.size = 0;
        for (std::size_t i = 0; i < bytes; ++i) {
            header.size = header.size << 8 | std::to_integer<std::size_t>(rest_[2 + i]);
        }
        header.begin += bytes;
    }
    if (header.size > rest_.size() - header.begin) return input_error("DER that ends too early");
    return header;
}

Result<std::span<const std::byte>> DerReader::get(DerTag tag) {
    const Header next = HF_TRY(header());
    if (next.tag != static_cast<std::uint8_t>(tag)) return input_error("DER with a value of another type");
    const auto content = rest_.subspan(next.begin, next.size);
    rest_ = rest_.subspan(next.begin + next.size);
    return content;
}

Result<std::uint16_t> DerReader::get_number() {
    const auto content = HF_TRY(get(DerTag::Integer));
    if (content.empty() || content.size() > 3) return input_error("DER with a number that is out of range");
    std::uint32_t value = 0;
    for (const std::byte b : content) value = value << 8 | std::to_integer<std::uint32_t>(b);
    const bool negative = content[0] > std::byte{0x7f};
    if (negative || value > 0xffff) return input_error("DER with a number that is out of range");
    return static_cast<std::uint16_t>(value);
}

Result<void> DerReader::skip() {
    const Header next = HF_TRY(header());
    rest_ = rest_.subspan(next.begin + next.size);
    return {};
}

Result<void> DerReader::expect_end() const {
    if (!rest_.empty()) return input_error("DER with trailing bytes");
    return {};
}

}  // namespace holdfast::attest
