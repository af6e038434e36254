// SPDX-License-Identifier: Apache-2.0
#include "cli/policy_files.hpp"

#include "cli/signing.hpp"
#include "cli/verify.hpp"
#include "sys/sha2.hpp"

namespace holdfast::cli {

PolicyFiles read_policy_files(const attest::Policy& policy) {
    PolicyFiles files{
        .whole = policy.whole, .host_roots = read_certificates(policy.tpm_roots), .enrolled = {}};
    attest::WholePolicy& whole = files.whole;
    whole.quote = policy.quote;
    whole.counter = policy.counter;
    whole.vtpm.roots = read_certificates(policy.vtpm_roots);
    whole.launch.digests = policy.snp.measurements;
    whole.cpu.snp = policy.snp;
    // They are what the launch statement's digest is held against, and the CPU's must be the same as that.
    whole.cpu.snp.measurements.clear();
    whole.cpu.snp_roots = read_certificates(policy.snp_roots);
    whole.cpu.tdx = policy.tdx;
    whole.cpu.tdx_roots = read_certificates(policy.tdx_roots);
    for (const std::string& path : policy.bundle_keys) {
        Sha256 hash;
        hash.update(read_public_key(path, KeyKind::Ed25519OrP256));
        const auto digest = hash.finish();
        whole.launch.bundle_keys.emplace_back(digest.begin(), digest.end());
    }
    if (!policy.enrolled.empty()) files.enrolled = read_enrolled(policy.enrolled, false);
    return files;
}

}  // namespace holdfast::cli
