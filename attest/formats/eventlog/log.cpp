// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/eventlog/log.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "attest/formats/eventlog/spec.hpp"
#include "sys/wire/endian.hpp"

namespace holdfast::attest {

template <>
struct Voucher<eventlog::EventLog, Stage::Parse> {
    static Parsed<eventlog::EventLog> grant(eventlog::EventLog log) {
        return Parsed<eventlog::EventLog>{std::move(log)};
    }
};

namespace eventlog {
namespace {

constexpr std::string_view kSpecId{"Spec ID Event03\0", 16};
constexpr std::size_t kSha1Size = 20;

namespace wire {
struct LegacyHeader {  // TCG_PCR_EVENT, its fixed part
    Le<std::uint32_t> pcr;
    Le<std::uint32_t> type;
    std::array<std::byte, kSha1Size> digest;
    Le<std::uint32_t> data_size;
};
static_assert(sizeof(LegacyHeader) == 32);

struct AgileHeader {  // TCG_PCR_EVENT2, its fixed part
    Le<std::uint32_t> pcr;
    Le<std::uint32_t> type;
    Le<std::uint32_t> digests;
};
static_assert(sizeof(AgileHeader) == 12);

struct SpecId {  // TCG_EfiSpecIDEvent, its fixed part
    std::array<char, 16> signature;
    Le<std::uint32_t> platform_class;
    std::array<std::uint8_t, 4> versions;
    Le<std::uint32_t> algorithms;
};
static_assert(sizeof(SpecId) == 28);

struct Algorithm {
    Le<std::uint16_t> id;
    Le<std::uint16_t> digest_size;
};
static_assert(sizeof(Algorithm) == 4);
}  // namespace wire

Result<std::span<const std::byte>> take_bytes(std::span<const std::byte>& rest, std::size_t size) {
    if (size > rest.size()) return peer_fault("event log ends in the middle of an event");
    const auto taken = rest.first(size);
    rest = rest.subspan(size);
    return taken;
}

template <typename T>
Result<T> take(std::span<const std::byte>& rest) {
    static_assert(std::is_trivially_copyable_v<T>);
    const auto raw = HF_TRY(take_bytes(rest, sizeof(T)));
    T value;
    std::memcpy(&value, raw.data(), sizeof value);
    return value;
}

/// How many bytes at the end are all 0 or all ff. Counted once: to look ahead at each event would cost the
/// square of a log that is made for it.
std::size_t fill_at_end(std::span<const std::byte> bytes) {
    if (bytes.empty()) return 0;
    const std::byte fill = bytes.back();
    if (fill != std::byte{0} && fill != std::byte{0xff}) return 0;
    const auto other = std::find_if(bytes.rbegin(), bytes.rend(), [fill](std::byte b) { return b != fill; });
    return static_cast<std::size_t>(other - bytes.rbegin());
}

/// The banks that a Spec ID event declares.
Result<std::vector<Bank>> read_banks(std::span<const std::byte> data) {
    const auto spec = HF_TRY(take<wire::SpecId>(data));
    if (spec.algorithms.get() == 0 || spec.algorithms.get() > kMaxBanks) {
        return peer_fault("event log has no or too many banks");
    }
    std::vector<Bank> banks;
    for (std::uint32_t i = 0; i < spec.algorithms.get(); ++i) {
        const auto algorithm = HF_TRY(take<wire::Algorithm>(data));
        const auto known = known_hash(algorithm.id.get());
        if (known && digest_size(*known) != algorithm.digest_size.get()) {
            return peer_fault("event log gives an algorithm the wrong digest size");
        }
        if (std::ranges::find(banks, algorithm.id.get(), &Bank::alg) != banks.end()) {
            return peer_fault("event log declares a bank twice");
        }
        banks.push_back({algorithm.id.get(), algorithm.digest_size.get()});
    }
    return banks;
}

}  // namespace

std::uint32_t registers_of(Kind kind) noexcept { return kind == Kind::Tcg ? 24 : 5; }

std::optional<std::span<const std::byte>> Event::digest(HashAlg alg) const noexcept {
    for (const EventDigest& one : digests()) {
        if (one.alg == static_cast<std::uint16_t>(alg)) return one.value;
    }
    return std::nullopt;
}

Result<Parsed<EventLog>> parse_log(std::span<const std::byte> bytes, Kind kind) {
    EventLog log{.kind = kind, .agile = false, .banks = {}, .events = bytes, .count = 0};
    auto rest = bytes;
    const auto header = HF_TRY(take<wire::LegacyHeader>(rest));
    const auto data = HF_TRY(take_bytes(rest, header.data_size.get()));
    log.agile = header.type.get() == ev::NO_ACTION && data.size() >= kSpecId.size() &&
                std::memcmp(data.data(), kSpecId.data(), kSpecId.size()) == 0;
    if (log.agile) {
        log.banks = HF_TRY(read_banks(data));
        log.events = rest;
    } else {
        if (kind == Kind::Cc) return peer_fault("event log is not crypto-agile (Spec ID Event03)");
        log.banks = {{static_cast<std::uint16_t>(HashAlg::Sha1), kSha1Size}};
    }
    Cursor cursor{log};
    std::size_t count = 0;
    // Bounded: each event takes 16 bytes of the log at least.
    while (HF_TRY(cursor.next()) != nullptr) ++count;
    log.count = count;
    return Voucher<EventLog, Stage::Parse>::grant(std::move(log));
}

Cursor::Cursor(const EventLog& log) noexcept
    : log_{log}, rest_{log.events}, fill_{fill_at_end(log.events)}, event_{} {}

Result<const Event*> Cursor::next() {
    if (rest_.size() <= fill_) return nullptr;
    if (log_.agile) HF_TRY(read_agile());
    else HF_TRY(read_legacy());
    return &event_;
}

Result<void> Cursor::read_legacy() {
    if (rest_.size() < sizeof(wire::LegacyHeader))
        return peer_fault("event log ends in the middle of an event");
    const auto digest = rest_.subspan(offsetof(wire::LegacyHeader, digest), kSha1Size);
    const auto header = HF_TRY(take<wire::LegacyHeader>(rest_));
    event_.pcr = header.pcr.get();
    event_.type = header.type.get();
    event_.storage[0] = {static_cast<std::uint16_t>(HashAlg::Sha1), digest};
    event_.count = 1;
    event_.data = HF_TRY(take_bytes(rest_, header.data_size.get()));
    return {};
}

Result<void> Cursor::read_agile() {
    const auto header = HF_TRY(take<wire::AgileHeader>(rest_));
    if (header.digests.get() > log_.banks.size()) {
        return peer_fault("event has more digests than the log has banks");
    }
    event_.pcr = header.pcr.get();
    event_.type = header.type.get();
    event_.count = header.digests.get();
    std::uint32_t seen = 0;
    for (std::size_t i = 0; i < event_.count; ++i) {
        const std::uint16_t alg = HF_TRY(take<Le<std::uint16_t>>(rest_)).get();
        const auto bank = std::ranges::find(log_.banks, alg, &Bank::alg);
        if (bank == log_.banks.end()) return peer_fault("event has a digest of a bank that the log has not");
        const std::uint32_t bit = 1U << (bank - log_.banks.begin());
        if ((seen & bit) != 0) return peer_fault("event has two digests of one bank");
        seen |= bit;
        event_.storage[i] = {alg, HF_TRY(take_bytes(rest_, bank->digest_size))};
    }
    const std::uint32_t size = HF_TRY(take<Le<std::uint32_t>>(rest_)).get();
    event_.data = HF_TRY(take_bytes(rest_, size));
    return {};
}

}  // namespace eventlog
}  // namespace holdfast::attest
