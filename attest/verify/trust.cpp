// SPDX-License-Identifier: Apache-2.0
#include "attest/verify/trust.hpp"

namespace holdfast::attest {

std::optional<Authenticated<tpm::AttestationKey>> trust(const Parsed<tpm::AttestationKey>& key,
                                                        const AkTrust& by, Findings& findings) {
    switch (by.by) {
        case AkTrust::By::Given: return tpm::trust_given(key, findings);
        case AkTrust::By::Name: return tpm::trust_named(key, by.names, findings);
        case AkTrust::By::Certificate:
            if (!by.certified) return std::nullopt;  // the chain's own findings say why
            return tpm::trust_certified(key, *by.certified, findings);
    }
    bug("trust of a kind that there is not");
}

AkTrust trust_by_certificate(ChainVerifier& roots, const ChainRequest& request, Findings& findings) {
    AkTrust trust{.by = AkTrust::By::Certificate, .names = {}, .certified = std::nullopt};
    const auto chain = roots.verify(request, findings);
    if (!chain) return trust;
    if (auto key = chain->front().key()) trust.certified = std::move(*key);
    else findings.add(Code::TpmAkCertificate, key.error().what);
    return trust;
}

}  // namespace holdfast::attest
