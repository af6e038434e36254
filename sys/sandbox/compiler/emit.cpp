// SPDX-License-Identifier: Apache-2.0
#include "sys/sandbox/compiler/emit.hpp"

#include <cstdio>
#include <cstring>
#include <memory>

#include <seccomp.h>

namespace holdfast::sandbox::compiler {
namespace {

void must(int rc, const std::string& what) {
    if (rc < 0) throw PolicyError(what + ": libseccomp says " + std::strerror(-rc));
}

std::vector<sock_filter> exported(scmp_filter_ctx context) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file{std::tmpfile(), &std::fclose};
    if (!file) throw PolicyError("no temporary file");
    must(seccomp_export_bpf(context, ::fileno(file.get())), "export");
    std::rewind(file.get());
    std::vector<sock_filter> code;
    for (sock_filter one{}; std::fread(&one, sizeof one, 1, file.get()) == 1;) code.push_back(one);
    return code;
}

}  // namespace

int call_number(const Allowance& allowance) {
    const int number = seccomp_syscall_resolve_name(allowance.call.c_str());
    if (number < 0) throw PolicyError(allowance.where + ": no system call '" + allowance.call + "'");
    return number;
}

std::vector<sock_filter> compile(std::span<const Allowance> allowances) {
    const std::unique_ptr<void, void (*)(scmp_filter_ctx)> context{seccomp_init(SCMP_ACT_KILL_PROCESS),
                                                                   &seccomp_release};
    if (!context) throw PolicyError("seccomp_init failed");
    must(seccomp_attr_set(context.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "bad-arch action");
    // A binary tree over the numbers: the cost of a call does not depend on its place in the list.
    must(seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2), "optimization");
    for (const Allowance& allowance : allowances) {
        std::vector<scmp_arg_cmp> compares;
        for (const Compare& compare : allowance.conditions) {
            compares.push_back({.arg = compare.argument,
                                .op = SCMP_CMP_MASKED_EQ,
                                .datum_a = compare.mask,
                                .datum_b = compare.value});
        }
        const std::uint32_t action = allowance.fails_with
                                         ? SCMP_ACT_ERRNO(static_cast<std::uint16_t>(*allowance.fails_with))
                                         : SCMP_ACT_ALLOW;
        must(seccomp_rule_add_array(context.get(), action, call_number(allowance),
                                    static_cast<unsigned>(compares.size()), compares.data()),
             allowance.where);
    }
    return exported(context.get());
}

}  // namespace holdfast::sandbox::compiler
