// SPDX-License-Identifier: Apache-2.0
// As much of DER (X.690) as the extensions of AMD's and Intel's certificates need: values of up to 64 KiB, of
// tags below 31, one after the other.
#pragma once

#include <cstdint>
#include <span>

#include "sys/result.hpp"

namespace holdfast::attest {

enum class DerTag : std::uint8_t {
    Integer = 0x02,
    OctetString = 0x04,
    Oid = 0x06,
    Utf8String = 0x0c,
    Ia5String = 0x16,
    Sequence = 0x30,
};

/// Reads from a span that it does not own. What is not of the form is an Input error.
class DerReader {
public:
    explicit DerReader(std::span<const std::byte> bytes) noexcept : rest_{bytes} {}
    [[nodiscard]] bool at_end() const noexcept { return rest_.empty(); }
    /// The content of the next value, which has this tag.
    Result<std::span<const std::byte>> get(DerTag tag);
    /// An INTEGER from 0 to 65535.
    Result<std::uint16_t> get_number();
    /// The next value whatever it is, left out.
    Result<void> skip();
    [[nodiscard]] Result<void> expect_end() const;

private:
    struct Header {
        std::uint8_t tag = 0;
        std::size_t begin = 0;
        std::size_t size = 0;
    };
    [[nodiscard]] Result<Header> header() const;
    std::span<const std::byte> rest_;
};

}  // namespace holdfast::attest
