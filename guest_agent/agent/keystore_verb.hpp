// SPDX-License-Identifier: Apache-2.0
// `holdfast-agent keystore seal|unseal FILE`: a secret for later boots, in the vTPM's keeping (keystore.hpp).
#pragma once

#include <span>

#include "sys/result.hpp"

namespace holdfast::agent {

/// seal FILE <secret: in place of what was sealed in it. unseal FILE >secret. Beside it lies FILE.next for a
/// moment; after a crash in that moment either of them opens, and unseal finds it.
Result<void> keystore_verb(std::span<char*> words);

}  // namespace holdfast::agent
