// SPDX-License-Identifier: Apache-2.0
// `holdfast-agent channel`: a program in each of two guests, and an attested channel between them.
#pragma once

#include <span>

#include "sys/result.hpp"

namespace holdfast::agent {

/// listen|connect -- PROGRAM [ARGUMENT...]. What each program writes to its standard output comes to the
/// other's standard input, byte by byte, to its end.
Result<void> channel_verb(std::span<char*> words);

}  // namespace holdfast::agent
