// SPDX-License-Identifier: Apache-2.0
// `holdfast-agent group`: a program in each of several guests, and one sealed conversation between them.
#pragma once

#include <span>

#include "sys/result.hpp"

namespace holdfast::agent {

/// GROUP NAME MEMBER... -- PROGRAM [ARGUMENT...]. The first of the members founds the group, and all of them
/// are waited for, or as many as agent.conf says (group-founders); the others then may join later. Each line
/// that the program says goes to all others, and each line of theirs comes to it with the sender's name in
/// front; until it ends.
Result<void> group_verb(std::span<char*> words);

}  // namespace holdfast::agent
