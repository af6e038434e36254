// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace holdfast::vtpm {

/// Which state a vTPM begins with. Nothing but Create ever makes a new TPM.
enum class Start : std::uint8_t {
    Stored = 1,  ///< with the state that is there; none is an error
    Create,      ///< with none; one that is there is an error
    Incoming,    ///< a migration's destination: the state is taken when the TPM is switched on
};

}  // namespace holdfast::vtpm
