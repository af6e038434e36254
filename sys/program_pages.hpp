// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace holdfast {

/// Takes the pages of the program that hold nothing of its own (text, constants) out of the process; what is
/// used again is mapped again from the page cache. For who starts something and then only waits for it:
/// start-up is most of such a program.
void drop_program_pages() noexcept;

}  // namespace holdfast
