// SPDX-License-Identifier: Apache-2.0
// CBOR (RFC 8949) as far as evidence needs it: unsigned numbers, byte and text strings, arrays and maps, in
// the deterministic encoding of §4.2 and no other, so that the same evidence is the same bytes. No negative
// numbers, floats, tags, simple values or indefinite lengths.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "sys/result.hpp"

namespace holdfast::attest::cbor {

/// Keys of a map are put in the order of their encodings: numbers first, then shorter texts, then by bytes.
class Writer {
public:
    void put(std::uint64_t number) { put_head(0, number); }
    void put(std::span<const std::byte> bytes);
    void put(std::string_view text);
    /// Of a byte string that the caller puts behind by himself.
    void put_bytes_head(std::size_t size) { put_head(2, size); }
    void put_array(std::size_t items) { put_head(4, items); }
    void put_map(std::size_t pairs) { put_head(5, pairs); }
    [[nodiscard]] std::vector<std::byte> take() noexcept { return std::move(bytes_); }

private:
    void put_head(unsigned major, std::uint64_t value);
    std::vector<std::byte> bytes_;
};

/// Reads from a span that it does not own, and hands out parts of it. All errors are Peer errors.
class Reader {
public:
    explicit Reader(std::span<const std::byte> bytes) noexcept : rest_{bytes} {}
    Result<std::uint64_t> get_number() { return get_head(0); }
    Result<std::span<const std::byte>> get_bytes();
    Result<std::string_view> get_text();
    /// How many items or pairs follow: no more than there are bytes.
    Result<std::size_t> get_array() { return get_count(4); }
    Result<std::size_t> get_map() { return get_count(5); }
    [[nodiscard]] bool is_text_next() const noexcept;
    [[nodiscard]] std::span<const std::byte> rest() const noexcept { return rest_; }
    Result<void> expect_end() const;

private:
    Result<std::uint64_t> get_head(unsigned major);
    Result<std::size_t> get_count(unsigned major);
    Result<std::span<const std::byte>> get_string(unsigned major);
    std::span<const std::byte> rest_;
};

/// The keys of one map, which must ascend: so none comes twice.
class Keys {
public:
    Result<std::uint64_t> next_number(Reader& reader);
    Result<std::string_view> next_text(Reader& reader);

private:
    Result<void> ascend(std::span<const std::byte> before, std::span<const std::byte> after);
    std::span<const std::byte> last_;
};

}  // namespace holdfast::attest::cbor
