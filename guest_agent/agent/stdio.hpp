// SPDX-License-Identifier: Apache-2.0
// Secrets on standard input and output.
#pragma once

#include "guest_agent/crypto/key.hpp"

namespace holdfast::agent {

/// All of standard input; an Input error if it is longer than `most` bytes.
Result<SecretBuffer> read_input(std::size_t most);
Result<void> write_output(Bytes bytes);

}  // namespace holdfast::agent
