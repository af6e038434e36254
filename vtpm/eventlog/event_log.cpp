// SPDX-License-Identifier: Apache-2.0
#include "vtpm/eventlog/event_log.hpp"

#include <algorithm>

#include "sys/wire/endian.hpp"

namespace holdfast::eventlog {
namespace {

constexpr std::string_view kSignature{"Spec ID Event03\0", 16};
constexpr std::size_t kSha1 = 20;

namespace wire {
struct EventHeader {  // TCG_PCR_EVENT: the first event's form, of TPM 1.2
    Le<std::uint32_t> pcr;
    Le<std::uint32_t> type;
    std::array<std::byte, kSha1> digest;
    Le<std::uint32_t> data_size;
};
static_assert(sizeof(EventHeader) == 32);

struct SpecId {  // TCG_EfiSpecIDEvent, its fixed part
    std::array<char, 16> signature;
    Le<std::uint32_t> platform_class;
    std::uint8_t minor;
    std::uint8_t major;
    std::uint8_t errata;
    std::uint8_t uintn_size;
    Le<std::uint32_t> algorithms;
};
static_assert(sizeof(SpecId) == 28);

struct Algorithm {
    Le<std::uint16_t> id;
    Le<std::uint16_t> digest_size;
};
static_assert(sizeof(Algorithm) == 4);

struct Event2Header {  // TCG_PCR_EVENT2, its fixed part
    Le<std::uint32_t> pcr;
    Le<std::uint32_t> type;
    Le<std::uint32_t> digests;
};
static_assert(sizeof(Event2Header) == 12);
}  // namespace wire

class Output {
public:
    template <typename T>
    void put(const T& value) {
        static_assert(std::is_trivially_copyable_v<T>);
        put_raw(std::as_bytes(std::span{&value, 1}));
    }
    void put_raw(std::span<const std::byte> bytes) {
        bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    }
    std::vector<std::byte> bytes_;
};

}  // namespace

void BankHashes::update(std::span<const std::byte> bytes) noexcept {
    for (tpm2::Hash& hash : running_) hash.update(bytes);
}

Digests BankHashes::finish() noexcept {
    Digests digests;
    std::ranges::transform(running_, digests.begin(), [](tpm2::Hash& hash) { return hash.finish(); });
    return digests;
}

Digests digests_of(std::span<const std::byte> bytes) noexcept {
    BankHashes hashes;
    hashes.update(bytes);
    return hashes.finish();
}

Event make_event(std::uint32_t pcr, EventType type, std::span<const tpm2::Digest> digests,
                 std::string_view data) {
    const auto bytes = std::as_bytes(std::span{data});
    return {.pcr = pcr,
            .type = type,
            .digests = {digests.begin(), digests.end()},
            .data = {bytes.begin(), bytes.end()}};
}

std::vector<std::byte> encode(std::span<const Event> events) {
    constexpr std::uint8_t kUintn64 = 2;  // in units of 32 bits
    Output spec;
    spec.put(wire::SpecId{.signature = {},
                          .minor = 0,
                          .major = 2,
                          .errata = 0,
                          .uintn_size = kUintn64,
                          .algorithms = static_cast<std::uint32_t>(kBanks.size())});
    std::ranges::copy(std::as_bytes(std::span{kSignature}), spec.bytes_.begin());
    for (const tpm2::Alg alg : kBanks) {
        spec.put(wire::Algorithm{static_cast<std::uint16_t>(alg),
                                 static_cast<std::uint16_t>(tpm2::digest_size(alg))});
    }
    spec.put(std::uint8_t{0});  // no vendor information

    Output log;
    log.put(wire::EventHeader{.type = static_cast<std::uint32_t>(EventType::NO_ACTION),
                              .digest = {},
                              .data_size = static_cast<std::uint32_t>(spec.bytes_.size())});
    log.put_raw(spec.bytes_);
    for (const Event& event : events) {
        log.put(wire::Event2Header{event.pcr, static_cast<std::uint32_t>(event.type),
                                   static_cast<std::uint32_t>(event.digests.size())});
        for (const tpm2::Digest& digest : event.digests) {
            log.put(Le<std::uint16_t>{static_cast<std::uint16_t>(digest.alg)});
            log.put_raw(digest.bytes());
        }
        log.put(Le<std::uint32_t>{static_cast<std::uint32_t>(event.data.size())});
        log.put_raw(event.data);
    }
    return std::move(log.bytes_);
}

Result<Pcrs> replay(std::span<const Event> events, tpm2::Alg bank) {
    Pcrs pcrs(tpm2::kPcrs);
    for (const Event& event : events) {
        if (event.type == EventType::NO_ACTION) continue;
        if (event.pcr >= pcrs.size()) return peer_fault("event of a PCR that there is not");
        const auto digest = std::ranges::find(event.digests, bank, &tpm2::Digest::alg);
        if (digest == event.digests.end()) return peer_fault("event has no digest for the bank");
        const tpm2::Digest before = pcrs[event.pcr].value_or(tpm2::Digest{.alg = bank});
        tpm2::Hash extended{bank};
        extended.update(before.bytes());
        extended.update(digest->bytes());
        pcrs[event.pcr] = extended.finish();
    }
    return pcrs;
}

Result<std::vector<PcrValue>> replay_banks(std::span<const Event> events) {
    std::vector<PcrValue> values;
    for (const tpm2::Alg bank : kBanks) {
        const Pcrs pcrs = HF_TRY(replay(events, bank));
        for (std::uint32_t pcr = 0; pcr < pcrs.size(); ++pcr) {
            if (pcrs[pcr]) values.push_back({.pcr = pcr, .value = *pcrs[pcr]});
        }
    }
    return values;
}

}  // namespace holdfast::eventlog
