// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/eventlog/appraise.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "attest/formats/eventlog/spec.hpp"

namespace holdfast::attest::eventlog {
namespace {

constexpr std::uint32_t kSeparated = 8;  // each of PCRs 0-7 has one separator (§3.3.4)
constexpr std::uint32_t kBootPcr = 4;
constexpr std::uint32_t kSecureBootPcr = 7;

using Four = std::array<std::byte, 4>;
/// Data of a separator: 0 or ffffffff, and 1 after an error (§3.3.4).
constexpr std::array kSeparators{
    Four{}, Four{std::byte{0xff}, std::byte{0xff}, std::byte{0xff}, std::byte{0xff}}, Four{std::byte{1}}};

/// The events' digests are of their data: §10.4.1, "digest" column.
bool digest_is_of_data(std::uint32_t type) {
    return type == ev::SEPARATOR || type == ev::EFI_ACTION || type == ev::S_CRTM_VERSION ||
           type == ev::EFI_VARIABLE_DRIVER_CONFIG;
}

bool has_digest_of(const Event& event, std::span<const std::byte> data) {
    bool known = false;
    for (const EventDigest& digest : event.digests()) {
        const auto alg = known_hash(digest.alg);
        if (!alg) continue;
        known = true;
        if (!std::ranges::equal(hash(*alg, data).bytes(), digest.value)) return false;
    }
    return known;
}

/// The digests that separators have, computed once for a log.
class SeparatorDigests {
public:
    SeparatorDigests() {
        for (const HashAlg alg : kHashAlgs) {
            for (const Four& data : kSeparators) digests_.push_back(hash(alg, data));
        }
    }
    /// In any bank: a log may lie in the others.
    [[nodiscard]] bool fit(const Event& event) const {
        return std::ranges::any_of(event.digests(), [&](const EventDigest& one) {
            return std::ranges::any_of(digests_, [&](const Digest& digest) {
                return one.alg == static_cast<std::uint16_t>(digest.alg) &&
                       std::ranges::equal(one.value, digest.bytes());
            });
        });
    }

private:
    std::vector<Digest> digests_;
};

bool is_separator_data(std::span<const std::byte> data) {
    return std::ranges::any_of(kSeparators, [&](const Four& four) { return std::ranges::equal(data, four); });
}

/// Whether the UEFI_VARIABLE_DATA is of the variable "SecureBoot".
bool is_secure_boot_variable(std::span<const std::byte> data) {
    constexpr std::string_view kName{"S\0e\0c\0u\0r\0e\0B\0o\0o\0t\0", 20};
    constexpr std::size_t kNameOffset = 32;  // behind a GUID and two lengths
    return data.size() >= kNameOffset + kName.size() && data[16] == std::byte{10} &&
           std::ranges::equal(data.subspan(kNameOffset, kName.size()), std::as_bytes(std::span{kName}));
}

/// What has been seen so far on the way through the log.
class Walk {
public:
    explicit Walk(Findings& findings) noexcept : findings_{findings} {}

    void look_at(const Event& event) {
        ++number_;
        if (event.type == ev::NO_ACTION) return;
        if (digest_is_of_data(event.type) && !has_digest_of(event, event.data)) {
            report(Code::LogDigest, event);
        }
    }
    void look_at_pcr(const Event& event) {
        if (event.type == ev::NO_ACTION || event.pcr >= kSeparated) return;
        extended_ |= 1U << event.pcr;
        if (event.type == ev::SEPARATOR) {
            if (is_separated(event.pcr)) report(Code::LogSeparatorTwice, event);
            if (!is_separator_data(event.data)) report(Code::LogSeparatorValue, event);
            separated_ |= 1U << event.pcr;
            return;
        }
        // Seen on a real laptop: an S-CRTM part (FIT type 0x2d) of four zero bytes, which is what a separator
        // is too.
        if (event.type == ev::S_CRTM_CONTENTS && event.pcr == 0) return;
        if (separators_.fit(event)) report(Code::LogSeparatorHidden, event);
        look_at_order(event);
    }
    void finish() {
        for (std::uint32_t pcr = 0; pcr < kSeparated; ++pcr) {
            if ((extended_ >> pcr & 1) == 0 || is_separated(pcr)) continue;
            findings_.add(Code::LogSeparatorMissing, "PCR " + std::to_string(pcr));
        }
    }

private:
    void look_at_order(const Event& event) {
        if (event.type == ev::EFI_VARIABLE_DRIVER_CONFIG && event.pcr == kSecureBootPcr) {
            if (is_separated(event.pcr)) report(Code::LogOrder, event);
            if (is_secure_boot_variable(event.data) && secure_boot_++ > 0)
                report(Code::LogSecureBootTwice, event);
        }
        if (event.type == ev::EFI_BOOT_SERVICES_APPLICATION && event.pcr == kBootPcr &&
            !is_separated(event.pcr)) {
            report(Code::LogOrder, event);
        }
    }
    [[nodiscard]] bool is_separated(std::uint32_t pcr) const { return (separated_ >> pcr & 1) != 0; }
    void report(Code code, const Event& event) {
        findings_.add(code, "event " + std::to_string(number_) + ", PCR " + std::to_string(event.pcr));
    }

    Findings& findings_;
    SeparatorDigests separators_;
    std::size_t number_ = 0;
    std::uint32_t extended_ = 0;
    std::uint32_t separated_ = 0;
    std::uint32_t secure_boot_ = 0;
};

}  // namespace

void appraise_log(const Bound<EventLog>& log, Findings& findings) {
    Cursor cursor{*log};
    Walk walk{findings};
    while (true) {
        const auto event = cursor.next();
        check(event.has_value(), "a log that was parsed does not parse");
        if (*event == nullptr) break;
        walk.look_at(**event);
        if (log->kind == Kind::Tcg) walk.look_at_pcr(**event);
    }
    if (log->kind == Kind::Tcg) walk.finish();
}

}  // namespace holdfast::attest::eventlog
