// SPDX-License-Identifier: Apache-2.0
#include "attest/evidence/cbor.hpp"

#include <algorithm>

#include "attest/text/encoding.hpp"

namespace holdfast::attest::cbor {
namespace {

// RFC 8949 §3: values below 24 lie in the first byte, 24 to 27 say that 1, 2, 4 or 8 bytes follow.
constexpr unsigned kDirect = 24;
constexpr unsigned kLongest = 27;
constexpr unsigned kTextMajor = 3;

constexpr unsigned major_of(std::byte first) noexcept { return std::to_integer<unsigned>(first) >> 5; }

}  // namespace

void Writer::put_head(unsigned major, std::uint64_t value) {
    unsigned info = kDirect;
    unsigned bytes = 1;
    if (value < kDirect) {
        info = static_cast<unsigned>(value);
        bytes = 0;
    } else {
        while (bytes < 8 && value >> (8 * bytes) != 0) {
            bytes *= 2;
            ++info;
        }
    }
    bytes_.push_back(static_cast<std::byte>(major << 5 | info));
    for (unsigned i = bytes; i > 0; --i) bytes_.push_back(static_cast<std::byte>(value >> (8 * (i - 1))));
}

void Writer::put(std::span<const std::byte> bytes) {
    put_head(2, bytes.size());
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

void Writer::put(std::string_view text) {
    put_head(kTextMajor, text.size());
    const auto bytes = std::as_bytes(std::span{text});
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

Result<std::uint64_t> Reader::get_head(unsigned major) {
    if (rest_.empty()) return peer_fault("CBOR ends too early");
    if (major_of(rest_[0]) != major) return peer_fault("CBOR of another type than expected");
    const unsigned info = std::to_integer<unsigned>(rest_[0]) & 0x1f;
    if (info > kLongest) return peer_fault("CBOR of indefinite length");
    if (info < kDirect) {
        rest_ = rest_.subspan(1);
        return info;
    }
    const unsigned bytes = 1U << (info - kDirect);
    if (rest_.size() < 1 + bytes) return peer_fault("CBOR ends too early");
    std::uint64_t value = 0;
    for (const std::byte each : rest_.subspan(1, bytes)) value = value << 8 | std::to_integer<unsigned>(each);
    const bool fits_shorter = bytes == 1 ? value < kDirect : value >> (4 * bytes) == 0;
    if (fits_shorter) return peer_fault("CBOR number that is longer than it must be");
    rest_ = rest_.subspan(1 + bytes);
    return value;
}

Result<std::size_t> Reader::get_count(unsigned major) {
    const auto count = HF_TRY(get_head(major));
    if (count > rest_.size()) return peer_fault("CBOR ends too early");
    return static_cast<std::size_t>(count);
}

Result<std::span<const std::byte>> Reader::get_string(unsigned major) {
    const std::size_t size = HF_TRY(get_count(major));
    const auto taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
}

Result<std::span<const std::byte>> Reader::get_bytes() { return get_string(2); }
Result<std::string_view> Reader::get_text() { return text_of(HF_TRY(get_string(kTextMajor))); }

bool Reader::is_text_next() const noexcept { return !rest_.empty() && major_of(rest_[0]) == kTextMajor; }

Result<void> Reader::expect_end() const {
    if (!rest_.empty()) return peer_fault("CBOR has trailing bytes");
    return {};
}

Result<void> Keys::ascend(std::span<const std::byte> before, std::span<const std::byte> after) {
    const auto key = before.first(before.size() - after.size());
    if (!std::ranges::lexicographical_compare(last_, key)) return peer_fault("CBOR keys are not in order");
    last_ = key;
    return {};
}

Result<std::uint64_t> Keys::next_number(Reader& reader) {
    const auto before = reader.rest();
    const auto key = HF_TRY(reader.get_number());
    HF_TRY(ascend(before, reader.rest()));
    return key;
}

Result<std::string_view> Keys::next_text(Reader& reader) {
    const auto before = reader.rest();
    const auto key = HF_TRY(reader.get_text());
    HF_TRY(ascend(before, reader.rest()));
    return key;
}

}  // namespace holdfast::attest::cbor
