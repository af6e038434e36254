// SPDX-License-Identifier: Apache-2.0
// Whom a case trusts to make CPUs: the self-signed certificates among its own files, or, where it names none,
// among those that the folder keeps below certs/VENDOR. All others only help to build a chain.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "attest/crypto/x509.hpp"
#include "tests/attest/vectors/case.hpp"

namespace holdfast::attest::vectors {

class Trust {
public:
    /// `names` are the entries of the case's files to look at, `vendor` the folder.
    Trust(const Case& test, std::initializer_list<const char*> names, const char* vendor);

    void add_helpers(std::span<const std::byte> certificates);
    void add_crls(const Case& test, std::initializer_list<const char*> names);
    void add_crl(Crl crl) { crls_.push_back(std::move(crl)); }
    [[nodiscard]] ChainRequest request(std::span<const std::byte> presented, std::int64_t at) const;
    [[nodiscard]] ChainVerifier& verifier() { return *verifier_; }

private:
    std::vector<Certificate> helpers_;
    std::vector<Crl> crls_;
    std::optional<ChainVerifier> verifier_;
};

/// Files of a folder whose names end so, in the order of their names.
[[nodiscard]] std::vector<Bytes> files_in(const std::filesystem::path& folder, std::string_view ending);

}  // namespace holdfast::attest::vectors
