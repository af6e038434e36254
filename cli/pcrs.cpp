// SPDX-License-Identifier: Apache-2.0
#include "cli/pcrs.hpp"

#include "sys/sha2.hpp"

namespace holdfast::cli {

PcrTexts pcr_texts(std::span<const eventlog::PcrValue> pcrs) {
    PcrTexts texts;
    for (const eventlog::PcrValue& pcr : pcrs) {
        texts[std::string{tpm2::alg_name(pcr.value.alg)}][std::to_string(pcr.pcr)] = hex(pcr.value.bytes());
    }
    return texts;
}

}  // namespace holdfast::cli
