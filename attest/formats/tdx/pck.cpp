// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/tdx/pck.hpp"

#include <algorithm>

#include "attest/crypto/der.hpp"

namespace holdfast::attest::tdx {
namespace {

constexpr const char* kSgxExtension = "1.2.840.113741.1.13.1";
// The same in DER; below it 1 is PPID, 2 the TCB, 3 PCE-ID, 4 FMSPC.
constexpr std::array kArc{std::byte{0x2a}, std::byte{0x86}, std::byte{0x48}, std::byte{0x86}, std::byte{0xf8},
                          std::byte{0x4d}, std::byte{0x01}, std::byte{0x0d}, std::byte{0x01}};
constexpr std::uint8_t kPpid = 1;
constexpr std::uint8_t kTcb = 2;
constexpr std::uint8_t kPceId = 3;
constexpr std::uint8_t kFmspc = 4;
constexpr std::uint8_t kPceSvn = 17;  // within the TCB, behind the 16 components
constexpr std::uint8_t kCpuSvn = 18;
// A few more than there are; bounds the loops.
constexpr unsigned kMaxMembers = 32;

/// The last number of an identifier of the extension; 0: it is another's.
std::uint8_t member_of(std::span<const std::byte> oid, std::size_t depth) {
    if (oid.size() != kArc.size() + depth || !std::ranges::equal(oid.first(kArc.size()), kArc)) return 0;
    if (depth == 2 && oid[kArc.size()] != std::byte{kTcb}) return 0;
    return std::to_integer<std::uint8_t>(oid.back());
}

template <std::size_t Size>
Result<void> read_octets(DerReader& value, std::array<std::byte, Size>& to) {
    const auto octets = HF_TRY(value.get(DerTag::OctetString));
    if (octets.size() != Size) return input_error("a PCK certificate with a part of another size");
    std::ranges::copy(octets, to.begin());
    return {};
}

Result<void> read_tcb(DerReader members, Pck& pck) {
    std::uint32_t seen = 0;
    for (unsigned i = 0; !members.at_end(); ++i) {
        if (i == kMaxMembers) return input_error("a PCK certificate with too many parts");
        DerReader member{HF_TRY(members.get(DerTag::Sequence))};
        const auto number = member_of(HF_TRY(member.get(DerTag::Oid)), 2);
        if (number == 0 || number > kCpuSvn) continue;
        if ((seen >> number & 1U) != 0) return input_error("a PCK certificate with a part twice");
        seen |= 1U << number;
        if (number == kCpuSvn) continue;  // the components again
        const auto value = HF_TRY(member.get_number());
        if (number == kPceSvn) {
            pck.pce_svn = value;
        } else {
            if (value > 255) return input_error("a PCK certificate with a component above 255");
            pck.components[number - 1U] = static_cast<std::uint8_t>(value);
        }
    }
    constexpr std::uint32_t kAll = 0x3fffe;  // 1 to 17
    if ((seen & kAll) != kAll) return input_error("a PCK certificate without its whole TCB");
    return {};
}

}  // namespace

Result<Pck> read_pck(const Certificate& certificate) {
    const auto extension = certificate.extension(kSgxExtension);
    if (!extension) return input_error("not a PCK certificate");
    Pck pck;
    DerReader outer{*extension};
    DerReader members{HF_TRY(outer.get(DerTag::Sequence))};
    HF_TRY(outer.expect_end());
    std::uint32_t seen = 0;
    for (unsigned i = 0; !members.at_end(); ++i) {
        if (i == kMaxMembers) return input_error("a PCK certificate with too many parts");
        DerReader member{HF_TRY(members.get(DerTag::Sequence))};
        const auto number = member_of(HF_TRY(member.get(DerTag::Oid)), 1);
        if (number < kPpid || number > kFmspc) continue;
        if ((seen >> number & 1U) != 0) return input_error("a PCK certificate with a part twice");
        seen |= 1U << number;
        if (number == kPpid) HF_TRY(read_octets(member, pck.ppid));
        if (number == kTcb) {
            const auto tcb = HF_TRY(member.get(DerTag::Sequence));
            HF_TRY(read_tcb(DerReader{tcb}, pck));
        }
        if (number == kPceId) HF_TRY(read_octets(member, pck.pce_id));
        if (number == kFmspc) HF_TRY(read_octets(member, pck.fmspc));
    }
    if (seen != (1U << kPpid | 1U << kTcb | 1U << kPceId | 1U << kFmspc)) {
        return input_error("a PCK certificate that lacks a part");
    }
    return pck;
}

}  // namespace holdfast::attest::tdx
