// SPDX-License-Identifier: Apache-2.0
// The report that Azure's paravisor (the host compatibility layer, HCL) keeps in the vTPM of a confidential
// VM: a report of the hardware, and the data whose hash it states, which names the keys of the vTPM. The form
// is described by Microsoft's "Virtual TPMs in Azure confidential VMs".
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "attest/crypto/hash.hpp"
#include "attest/crypto/signature.hpp"
#include "attest/formats/snp/authenticate.hpp"
#include "attest/formats/tdx/authenticate.hpp"
#include "attest/stage.hpp"

namespace holdfast::attest::azure {

enum class Hardware : std::uint8_t { Snp, Tdx };

/// Borrows the bytes it was read from.
struct HclReport {
    Hardware hardware = Hardware::Snp;
    std::span<const std::byte>
        hardware_report;  ///< an SNP report, or a TDREPORT, which only its own platform can check
    HashAlg hash = HashAlg::Sha256;
    std::span<const std::byte> variable_data;  ///< JSON

    /// What the hardware states for the sake of the variable data.
    [[nodiscard]] Digest digest() const noexcept { return attest::hash(hash, variable_data); }
};

/// Zeroes may follow the report, as the vTPM's index is larger; other bytes are an Input error.
[[nodiscard]] Result<Parsed<HclReport>> parse_hcl_report(std::span<const std::byte> bytes);

/// The hardware report is about these keys.
[[nodiscard]] std::optional<Bound<HclReport>> bind_snp(const Parsed<HclReport>& hcl,
                                                       const Authenticated<snp::Endorsed>& report,
                                                       Findings& findings);
[[nodiscard]] std::optional<Bound<HclReport>> bind_tdx(const Parsed<HclReport>& hcl,
                                                       const Authenticated<tdx::Certified>& quote,
                                                       Findings& findings);

/// The attestation key of the vTPM ("HCLAkPub"). Trusted if the report is bound.
[[nodiscard]] Result<PublicKey> attestation_key_of(const HclReport& hcl);

}  // namespace holdfast::attest::azure
