// SPDX-License-Identifier: Apache-2.0
// AMD's part of a case: certificates sorted into what is trusted and what only helps, and a report's fields.
#pragma once

#include <optional>
#include <vector>

#include "attest/formats/snp/authenticate.hpp"
#include "tests/attest/vectors/case.hpp"

namespace holdfast::attest::vectors {

class AmdChain {
public:
    /// In the files of `chains`, self-signed certificates are the ones that the case trusts.
    AmdChain(const std::vector<Bytes>& chains, const std::vector<Bytes>& crls);
    [[nodiscard]] ChainRequest request(std::span<const std::byte> presented, std::int64_t at) const;
    [[nodiscard]] ChainVerifier& verifier() { return *verifier_; }

private:
    std::vector<Certificate> helpers_;
    std::vector<Crl> crls_;
    std::optional<ChainVerifier> verifier_;
};

[[nodiscard]] Json snp_fields(const snp::Report& report, std::optional<snp::Product> product);

}  // namespace holdfast::attest::vectors
