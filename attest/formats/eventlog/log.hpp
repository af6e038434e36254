// SPDX-License-Identifier: Apache-2.0
// Reading event logs: the TCG's in its crypto-agile and its older form (TCG PC Client Platform Firmware
// Profile 1.05, §10; TCG EFI Platform 1.22, §7), and the log of a confidential VM in the area that ACPI's
// CCEL table names (UEFI 2.10, §38), which is the first with measurement registers in place of PCRs.
//
// A log proves nothing. It explains PCR values that somebody vouches for; event types and data are covered by
// nothing at all. It may be as long as the input, so it is walked and never copied.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "attest/crypto/hash.hpp"
#include "attest/stage.hpp"
#include "sys/result.hpp"

namespace holdfast::attest::eventlog {

inline constexpr std::size_t kMaxBanks = 16;

enum class Kind : std::uint8_t {
    Tcg,  ///< PCRs
    Cc,   ///< measurement registers of a confidential VM: 0 is MRTD, n is RTMR n-1
};
/// PCRs 0-23, or registers 0-4.
[[nodiscard]] std::uint32_t registers_of(Kind kind) noexcept;

struct EventDigest {
    std::uint16_t alg = 0;
    std::span<const std::byte> value;
};

/// Borrows the log.
struct Event {
    std::uint32_t pcr = 0;
    std::uint32_t type = 0;
    std::span<const std::byte> data;
    std::array<EventDigest, kMaxBanks> storage;
    std::size_t count = 0;

    [[nodiscard]] std::span<const EventDigest> digests() const noexcept {
        return std::span{storage}.first(count);
    }
    [[nodiscard]] std::optional<std::span<const std::byte>> digest(HashAlg alg) const noexcept;
};

struct Bank {
    std::uint16_t alg = 0;
    std::size_t digest_size = 0;
};

/// Borrows the bytes it was read from.
struct EventLog {
    Kind kind = Kind::Tcg;
    bool agile = false;       ///< begins with a Spec ID event; else each event has one SHA-1 digest
    std::vector<Bank> banks;  ///< of a log that is not agile: SHA-1
    std::span<const std::byte> events;
    std::size_t count = 0;
};

/// Walks the whole log once: what it returns can be walked again without an error. The log ends with its last
/// byte, or where nothing but zeroes or nothing but ones follow (a log in its area).
[[nodiscard]] Result<Parsed<EventLog>> parse_log(std::span<const std::byte> bytes, Kind kind);

class Cursor {
public:
    explicit Cursor(const EventLog& log) noexcept;
    /// The next event, ours until the next call; null behind the last.
    [[nodiscard]] Result<const Event*> next();

private:
    Result<void> read_legacy();
    Result<void> read_agile();

    const EventLog& log_;
    std::span<const std::byte> rest_;
    std::size_t fill_ = 0;  ///< how many bytes at the end are one and the same filler
    Event event_;
};

}  // namespace holdfast::attest::eventlog
