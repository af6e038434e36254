// SPDX-License-Identifier: Apache-2.0
#include "cli/options.hpp"
namespace holdfast::cli {
int run_doctor(const DoctorOptions&) { return 0; }
}  // namespace holdfast::cli
