// SPDX-License-Identifier: Apache-2.0
#include "sys/sandbox/compiler/emit.hpp"

#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>

#include <linux/audit.h>
#include <linux/seccomp.h>
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

/// Allows one call and is done; anything else goes on to what will stand behind.
void ask_first(std::vector<sock_filter>& code, const Allowance& hot) {
    if (hot.fails_with) throw PolicyError(hot.where + ": hot: is for what is allowed");
    struct Question {
        std::size_t word;
        std::uint64_t value;
    };
    std::vector<Question> questions{
        {offsetof(seccomp_data, arch), AUDIT_ARCH_X86_64},
        {offsetof(seccomp_data, nr), static_cast<std::uint64_t>(call_number(hot))}};
    for (const Compare& compare : hot.conditions) {
        if (compare.mask != ~0ULL) throw PolicyError(hot.where + ": hot: compares whole arguments only");
        const std::size_t word = offsetof(seccomp_data, args) + compare.argument * sizeof(std::uint64_t);
        questions.push_back({word, compare.value & 0xffffffff});  // little endian
        questions.push_back({word + sizeof(std::uint32_t), compare.value >> 32});
    }
    std::size_t over = 2 * questions.size();  // from a question's jump to behind the answer
    for (const auto& [word, value] : questions) {
        over -= 2;
        code.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(word)));
        code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(value), 0,
                                static_cast<std::uint8_t>(over + 1)));
    }
    code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
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
    std::vector<sock_filter> code;
    for (const Allowance& allowance : allowances) {
        if (!allowance.hot.empty()) ask_first(code, allowance);
    }
    const auto rest = exported(context.get());
    code.insert(code.end(), rest.begin(), rest.end());
    return code;
}

}  // namespace holdfast::sandbox::compiler
