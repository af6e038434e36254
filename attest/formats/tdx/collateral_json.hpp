// SPDX-License-Identifier: Apache-2.0
// The JSON of TCB info (version 3) and enclave identities (version 2), read after its signature was found
// good.
#pragma once

#include <string_view>

#include "attest/formats/tdx/collateral.hpp"

namespace holdfast::attest::tdx {

[[nodiscard]] Result<TcbInfo> read_tcb_info(std::string_view json);
[[nodiscard]] Result<QeIdentity> read_qe_identity(std::string_view json);

}  // namespace holdfast::attest::tdx
