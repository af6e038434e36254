// SPDX-License-Identifier: Apache-2.0
#include "sys/sandbox/compiler/policy.hpp"

#include <array>
#include <exception>
#include <span>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include "bpf.hpp"
#include "sys/sandbox/compiler/emit.hpp"

namespace holdfast::sandbox::compiler {
namespace {

std::vector<Allowance> parse(const std::string& text) { return parse_policy(text, "test.policy", "."); }

std::string refusal(const std::string& text) {
    try {
        (void)compile(parse(text));
    } catch (const PolicyError& error) {
        return error.what();
    }
    return "accepted";
}

TEST(Policy, OneLineMayListSeveralCalls) {
    const auto allowances = parse("read, write\nclose\n");
    ASSERT_EQ(allowances.size(), 3U);
    EXPECT_EQ(allowances[1].call, "write");
    EXPECT_EQ(allowances[2].where, "test.policy:2");
}

TEST(Policy, ASetBecomesOneAllowanceAValue) {
    const auto allowances = parse("ioctl: arg1 in {KVM_RUN,\n  0x10} and arg0 == 3\n");
    ASSERT_EQ(allowances.size(), 2U);
    EXPECT_EQ(allowances[0].text, "ioctl arg1=KVM_RUN arg0=3");
    const std::array<std::uint64_t, 6> run{3, KVM_RUN};
    EXPECT_TRUE(allowances[0].matches(run));
    EXPECT_FALSE(allowances[1].matches(run));
}

TEST(Policy, MasksAndAlternativesOfBits) {
    const auto allowances = parse("fallocate: arg1 & FALLOC_FL_KEEP_SIZE|FALLOC_FL_PUNCH_HOLE == 3");
    ASSERT_EQ(allowances.size(), 1U);
    EXPECT_EQ(allowances[0].conditions[0], (Compare{.argument = 1, .mask = 3, .value = 3}));
}

TEST(Policy, TheCommentAboveOrBehindIsTheReason) {
    const auto allowances = parse("# Not about this.\n\n# Above\n# two lines.\nread\nwrite # behind\n");
    EXPECT_EQ(allowances[0].reason, "Above two lines.");
    EXPECT_EQ(allowances[1].reason, "behind");
}

TEST(Policy, MarkersEndWhereTheNextBegins) {
    const auto allowances =
        parse("kill: arg1 == SIGABRT justify: a reason,\n  on two lines rare: only once\n");
    EXPECT_EQ(allowances[0].justify, "a reason, on two lines");
    EXPECT_EQ(allowances[0].rare, "only once");
}

TEST(Policy, DangerousCallsNeedAJustification) {
    for (const char* text : {"openat", "execve", "socket: arg0 == 1", "clone", "ptrace", "bpf", "kill",
                             "io_uring_setup", "prctl", "ioctl", "ioctl: arg0 == 3", "mmap",
                             "mmap: arg2 == PROT_READ|PROT_EXEC", "mprotect: arg1 & PROT_EXEC == 0"}) {
        EXPECT_THAT(refusal(text), testing::HasSubstr("justify")) << text;
        EXPECT_EQ(refusal(std::string{text} + " justify: a test"), "accepted") << text;
    }
    EXPECT_EQ(refusal("mmap: arg2 & PROT_EXEC == 0"), "accepted");
    EXPECT_EQ(refusal("clone3: errno ENOSYS"), "accepted");
}

TEST(Policy, MistakesAreNamedWithTheirLine) {
    EXPECT_EQ(refusal("read\nraed\n"), "test.policy:2: no system call 'raed'");
    EXPECT_THAT(refusal("ioctl: arg1 == KVM_RUNN"), testing::HasSubstr("unknown constant 'KVM_RUNN'"));
    EXPECT_THAT(refusal("ioctl: arg6 == 1"), testing::HasSubstr("arg6"));
    EXPECT_THAT(refusal("ioctl: arg1 in {}"), testing::HasSubstr("empty"));
    EXPECT_THAT(refusal("ioctl: arg1 in {KVM_RUN"), testing::HasSubstr("expected '}'"));
    EXPECT_THAT(refusal("read write"), testing::HasSubstr("unexpected 'write'"));
    EXPECT_THAT(refusal("include nowhere.policy"), testing::HasSubstr("cannot be read"));
}

TEST(Policy, WhatIsHotIsAskedFirstAndInAllBits) {
    const auto code =
        compile(parse("read, write\nioctl: arg1 in {1, 2}\nioctl: arg1 == KVM_RUN hot: a test\n"));
    // The rest of the filter is not there to be asked.
    const auto asked_first = std::span{code}.first(9);
    EXPECT_EQ(verdict(asked_first, {.number = SYS_ioctl, .arguments = {3, KVM_RUN}}), SECCOMP_RET_ALLOW);
    for (const Call& other :
         {Call{.number = SYS_read, .arguments = {3, KVM_RUN}},
          Call{.number = SYS_ioctl, .arguments = {3, KVM_RUN | 1ULL << 32}},
          Call{.number = SYS_ioctl, .arguments = {3, KVM_RUN ^ 1}},
          Call{.number = SYS_ioctl, .arguments = {3, KVM_RUN}, .architecture = 0x40000003}}) {
        EXPECT_THROW((void)verdict(asked_first, other), std::exception);
        EXPECT_EQ(verdict(code, other),
                  other.number == SYS_read ? SECCOMP_RET_ALLOW : SECCOMP_RET_KILL_PROCESS);
    }
    EXPECT_THAT(refusal("mmap: arg2 & PROT_EXEC == 0 hot: a test"), testing::HasSubstr("whole arguments"));
    EXPECT_THAT(refusal("clone3: errno ENOSYS hot: a test"), testing::HasSubstr("allowed"));
}

TEST(Policy, TheSameTwiceIsAMistake) {
    EXPECT_EQ(refusal("read\nread\n"), "test.policy:2: read is already at test.policy:1");
}

}  // namespace
}  // namespace holdfast::sandbox::compiler
