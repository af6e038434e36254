// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/tpm/nv.hpp"

#include <algorithm>

#include "attest/formats/tpm/spec.hpp"
#include "sys/sha2.hpp"
#include "vtpm/tpm2/codec.hpp"

namespace holdfast::attest {

template <>
struct Voucher<tpm::NvCounter, Stage::Bind> {
    static Bound<tpm::NvCounter> grant(tpm::NvCounter counter) { return Bound<tpm::NvCounter>{counter}; }
};

namespace tpm {
namespace {

constexpr std::size_t kCounterBytes = 8;

/// What a TPM2B_NV_PUBLIC holds, or the bytes themselves: a TPMS_NV_PUBLIC begins with an index, 01..., and
/// is shorter than that many bytes.
std::span<const std::byte> without_size(std::span<const std::byte> bytes) {
    tpm2::Reader reader{bytes};
    const auto inner = reader.get_sized();
    return inner && reader.rest().empty() ? *inner : bytes;
}

}  // namespace

Result<NvPublic> parse_nv_public(std::span<const std::byte> bytes) {
    const auto area = without_size(bytes);
    tpm2::Reader reader{area};
    NvPublic nv{.index = HF_TRY(reader.get<std::uint32_t>())};
    const auto name_alg = known_hash(HF_TRY(reader.get<std::uint16_t>()));
    if (!name_alg) return peer_fault("NV index with a name algorithm that is not known");
    nv.attributes = HF_TRY(reader.get<std::uint32_t>());
    const auto policy = HF_TRY(reader.get_sized());
    nv.auth_policy.assign(policy.begin(), policy.end());
    nv.size = HF_TRY(reader.get<std::uint16_t>());
    HF_TRY(reader.expect_end());
    tpm2::Writer name;
    name.put(static_cast<std::uint16_t>(*name_alg));
    name.put_raw(hash(*name_alg, area).bytes());
    nv.name = name.take();
    return nv;
}

std::optional<Bound<NvCounter>> bind_counter(const Authenticated<Signed>& certification,
                                             const NvPublic& expected, Findings& findings) {
    const auto* const body = std::get_if<NvBody>(&certification->attest.body);
    check(body != nullptr, "counter of a statement that is no NV certification");
    bool right = true;
    if (!std::ranges::equal(body->index_name, expected.name)) {
        findings.add(Code::NvName, "it is of " + hex(body->index_name));
        right = false;
    }
    if (body->offset != 0 || body->contents.size() != kCounterBytes) {
        findings.add(Code::NvRange,
                     std::to_string(body->contents.size()) + " bytes at " + std::to_string(body->offset));
        right = false;
    }
    if (!right) return std::nullopt;
    tpm2::Reader reader{body->contents};
    return Voucher<NvCounter, Stage::Bind>::grant(
        {.value = *reader.get<std::uint64_t>(), .attributes = expected.attributes});
}

void appraise_counter(const Bound<NvCounter>& counter, const CounterPolicy& policy, Findings& findings) {
    if ((counter->attributes & nv::TYPE_MASK) != nv::TYPE_COUNTER ||
        (counter->attributes & nv::WRITTEN) == 0) {
        findings.add(Code::NvAttributes);
    }
    if ((counter->attributes & nv::ORDERLY) != 0 && !policy.orderly) findings.add(Code::NvOrderly);
    if (policy.at_least && counter->value < *policy.at_least) {
        findings.add(Code::NvCounterBack,
                     std::to_string(counter->value) + ", seen before " + std::to_string(*policy.at_least));
    }
}

}  // namespace tpm
}  // namespace holdfast::attest
