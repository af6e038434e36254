// SPDX-License-Identifier: Apache-2.0
#include "sys/sandbox/seccomp.hpp"

#include <cerrno>

#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace holdfast::sandbox {

Result<void> install(const Filter& filter, Scope scope) {
    const sock_fprog program{.len = static_cast<unsigned short>(filter.code.size()),
                             // The kernel only reads it; the field is not const for BPF's older users.
                             .filter = const_cast<sock_filter*>(filter.code.data())};
    const unsigned long flags = scope == Scope::AllThreads ? SECCOMP_FILTER_FLAG_TSYNC : 0;
    const long rc = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (rc < 0) return os_error("install the seccomp filter");
    // TSYNC reports the thread that could not follow as a positive number.
    if (rc > 0) return Error{Fault::Os, EBUSY, "install the seccomp filter in all threads"};
    return {};
}

}  // namespace holdfast::sandbox
