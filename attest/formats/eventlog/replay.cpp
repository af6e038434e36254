// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/eventlog/replay.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "attest/formats/eventlog/spec.hpp"

namespace holdfast::attest {

template <>
struct Voucher<eventlog::EventLog, Stage::Bind> {
    static Bound<eventlog::EventLog> grant(eventlog::EventLog log) {
        return Bound<eventlog::EventLog>{std::move(log)};
    }
};

namespace eventlog {
namespace {

constexpr std::uint32_t kFirmwareRegisters = 8;  // PCRs 0-7: nobody but what this log is of extends them

/// "StartupLocality": the locality that TPM2_Startup came from, which is where PCR 0 begins (TCG PFP 1.05,
/// §10.4.5.3).
std::optional<std::byte> startup_locality(const Event& event) {
    constexpr std::string_view kName{"StartupLocality\0", 16};
    if (event.pcr != 0 || event.data.size() != kName.size() + 1) return std::nullopt;
    if (std::memcmp(event.data.data(), kName.data(), kName.size()) != 0) return std::nullopt;
    return event.data.back();
}

bool is_zero(const Digest& digest) {
    return std::ranges::all_of(digest.bytes(), [](std::byte byte) { return byte == std::byte{0}; });
}

bool explains(const Registers& replayed, const Vouched& vouched, Kind kind, Findings& findings) {
    const std::uint32_t whole = kind == Kind::Tcg ? kFirmwareRegisters : registers_of(kind);
    bool all = true;
    for (std::uint32_t i = 0; i < replayed.size() && i < vouched.values.size(); ++i) {
        const auto& value = vouched.values[i];
        if (!value) continue;
        const bool explained = replayed[i] ? *replayed[i] == *value : i >= whole || is_zero(*value);
        if (explained) continue;
        findings.add(Code::LogReplay, std::string{hash_name(vouched.bank)} +
                                          (kind == Kind::Tcg ? " PCR " : " register ") + std::to_string(i));
        all = false;
    }
    return all;
}

}  // namespace

Result<Registers> replay(const Parsed<EventLog>& log, HashAlg bank) {
    Registers registers(registers_of(log->kind));
    Cursor cursor{*log};
    while (const Event* const event = HF_TRY(cursor.next())) {
        if (event->type == ev::NO_ACTION) {
            // Only before anything was extended: later it would be a way to choose PCR 0's value.
            const auto locality = log->kind == Kind::Tcg ? startup_locality(*event) : std::nullopt;
            if (locality && !registers[0]) {
                Digest& start = registers[0].emplace(Digest{.alg = bank});
                start.bytes().back() = *locality;
            }
            continue;
        }
        if (event->pcr >= registers.size()) return peer_fault("event of a register that there is not");
        const auto digest = event->digest(bank);
        if (!digest) return peer_fault("event has no digest of the bank");
        registers[event->pcr] = extended(registers[event->pcr].value_or(Digest{.alg = bank}), *digest);
    }
    return registers;
}

std::optional<Bound<EventLog>> bind_log(const Parsed<EventLog>& log, std::span<const Vouched> vouched,
                                        Findings& findings) {
    bool all = true;
    if (vouched.empty()) {
        findings.add(Code::LogUnbound);
        all = false;
    }
    for (const Vouched& one : vouched) {
        const auto replayed = replay(log, one.bank);
        if (!replayed) {
            findings.add(Code::LogReplay, std::string{hash_name(one.bank)} + ": " + replayed.error().what);
            all = false;
            continue;
        }
        all = explains(*replayed, one, log->kind, findings) && all;
    }
    if (!all) return std::nullopt;
    return Voucher<EventLog, Stage::Bind>::grant(*log);
}

}  // namespace eventlog
}  // namespace holdfast::attest
