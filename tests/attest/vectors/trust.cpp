// SPDX-License-Identifier: Apache-2.0
#include "tests/attest/vectors/trust.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>

namespace holdfast::attest::vectors {

std::vector<Bytes> files_in(const std::filesystem::path& folder, std::string_view ending) {
    std::vector<std::filesystem::path> paths;
    if (std::filesystem::is_directory(folder)) {
        for (const auto& entry : std::filesystem::directory_iterator{folder}) {
            if (entry.path().string().ends_with(ending)) paths.push_back(entry.path());
        }
    }
    std::ranges::sort(paths);
    std::vector<Bytes> all;
    for (const auto& path : paths) {
        std::ifstream file{path, std::ios::binary};
        const std::string text{std::istreambuf_iterator<char>{file}, {}};
        const auto bytes = std::as_bytes(std::span{text});
        all.emplace_back(bytes.begin(), bytes.end());
    }
    return all;
}

Trust::Trust(const Case& test, std::initializer_list<const char*> names, const char* vendor) {
    std::vector<Bytes> files;
    for (const char* name : names) {
        for (Bytes& file : test.files(name)) files.push_back(std::move(file));
    }
    if (files.empty()) files = files_in(test.folder() / "certs" / vendor, "");
    std::vector<Certificate> roots;
    for (const Bytes& file : files) {
        const auto certificates = parse_certificates(file);
        if (!certificates) throw BadCase{certificates.error().what};
        for (const Certificate& one : *certificates) (one.is_self_issued() ? roots : helpers_).push_back(one);
    }
    auto verifier = ChainVerifier::create(roots);
    if (!verifier) throw BadCase{verifier.error().what};
    verifier_ = std::move(*verifier);
}

void Trust::add_helpers(std::span<const std::byte> certificates) {
    const auto parsed = parse_certificates(certificates);
    if (!parsed) throw BadCase{parsed.error().what};
    helpers_.insert(helpers_.end(), parsed->begin(), parsed->end());
}

void Trust::add_crls(const Case& test, std::initializer_list<const char*> names) {
    for (const char* name : names) {
        for (const Bytes& file : test.files(name)) {
            auto crl = Crl::parse(file);
            if (!crl) throw BadCase{crl.error().what};
            crls_.push_back(std::move(*crl));
        }
    }
}

ChainRequest Trust::request(std::span<const std::byte> presented, std::int64_t at) const {
    return {.presented = presented, .helpers = helpers_, .crls = crls_, .at = at};
}

}  // namespace holdfast::attest::vectors
