// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/keystore/witness.hpp"

namespace holdfast::agent::keystore {

Result<std::uint64_t> TpmWitness::value() {
    Session tpm{run_};
    if (!HF_TRY(tpm.has_counter(kEpochIndex))) {
        HF_TRY(tpm.define_counter(kEpochIndex));
        HF_TRY(tpm.increment(kEpochIndex));  // before that it cannot be read
    }
    return tpm.read_counter(kEpochIndex);
}

Result<std::uint64_t> TpmWitness::advance() {
    Session tpm{run_};
    HF_TRY(tpm.increment(kEpochIndex));
    return tpm.read_counter(kEpochIndex);
}

}  // namespace holdfast::agent::keystore
