// SPDX-License-Identifier: Apache-2.0
#include "vtpm/ca/provision.hpp"

namespace holdfast::vtpm::ca {
namespace {

// TPM 2.0 Library, Part 2, 6.13.
constexpr std::uint32_t PT_MANUFACTURER = 0x105;
constexpr std::uint32_t PT_FIRMWARE_VERSION_1 = 0x10b;

}  // namespace

Result<void> provision(Tpm& tpm, const Authority& authority, Subject subject) {
    HF_TRY(tpm.power_on());
    subject.manufacturer = HF_TRY(tpm.property(PT_MANUFACTURER));
    subject.firmware = HF_TRY(tpm.property(PT_FIRMWARE_VERSION_1));
    for (const EkKind kind : kEkKinds) {
        const auto area = HF_TRY(tpm.primary_key(ek_template(kind)));
        const auto key = HF_TRY(parse_ek(kind, area));
        const auto certificate = HF_TRY(authority.issue(key, subject));
        HF_TRY(tpm.write_nv(certificate_index(kind), certificate));
    }
    const auto area = HF_TRY(tpm.primary_key(tpm2::ak_template()));
    const auto key = HF_TRY(tpm2::parse_ak(area));
    const auto certificate = HF_TRY(authority.issue(key, subject));
    HF_TRY(tpm.write_nv(tpm2::kAkCertificate, certificate));
    HF_TRY(tpm.write_nv(tpm2::kAkTemplate, tpm2::ak_template()));
    return tpm.power_off();
}

}  // namespace holdfast::vtpm::ca
