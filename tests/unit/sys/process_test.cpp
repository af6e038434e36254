// SPDX-License-Identifier: Apache-2.0
// Children share our memory until they are another program: what they do there must not be seen here.
#include "sys/process.hpp"

#include <array>
#include <csignal>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

namespace holdfast {
namespace {

volatile std::sig_atomic_t g_handled = 0;
void count(int /*signal*/) { g_handled = g_handled + 1; }

struct Pipe {
    Pipe() {
        std::array<int, 2> ends{};
        EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
        reading.reset(ends[0]);
        writing.reset(ends[1]);
    }
    UniqueFd reading;
    UniqueFd writing;
};

/// What a shell with these words prints.
std::string said_by(const std::string& script) {
    Pipe out;
    Pipe handover;
    auto child = Child::start("/bin/sh", {"-c", script}, handover.writing, {.out = out.writing.get()});
    if (!child) return child.error().what;
    out.writing.reset();
    std::string text;
    std::array<char, 512> room{};
    for (ssize_t n = 0; (n = ::read(out.reading.get(), room.data(), room.size())) > 0;)
        text.append(room.data(), static_cast<std::size_t>(n));
    EXPECT_EQ(child->wait()->value, 0);
    return text;
}

TEST(Child, HasItsFourDescriptorsAndNoEnvironment) {
    const UniqueFd stranger{::open("/dev/null", O_RDONLY)};
    EXPECT_EQ(
        said_by("for fd in 0 1 2 3 4 5 6 7 8 9 10 11; do [ -e /proc/$$/fd/$fd ] && printf '%s ' $fd; done; "
                "printf %s \"$HOME\""),
        "0 1 2 3 ");
}

TEST(Child, StartsWithNoSignalBlockedWhateverWeBlock) {
    sigset_t all;
    sigset_t before;
    sigset_t after;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    const std::string mask = said_by("grep SigBlk /proc/self/status");
    ::pthread_sigmask(SIG_SETMASK, &before, &after);
    EXPECT_EQ(mask, "SigBlk:\t0000000000000000\n");
    EXPECT_EQ(::sigismember(&after, SIGUSR1), 1);  // and ours is as we had set it
}

// It shares our memory for a while, and takes handlers off in a table of its own.
TEST(Child, LeavesUsOurHandlers) {
    struct sigaction ours{};
    ours.sa_handler = count;
    struct sigaction before{};
    ASSERT_EQ(::sigaction(SIGUSR1, &ours, &before), 0);
    EXPECT_EQ(said_by("echo started"), "started\n");
    const auto seen = g_handled;
    ::raise(SIGUSR1);
    EXPECT_EQ(g_handled, seen + 1);
    ::sigaction(SIGUSR1, &before, nullptr);
}

TEST(Child, ThatIsNoProgramEndsWith127) {
    std::string path = ::testing::TempDir() + "no-program-XXXXXX";
    {
        const UniqueFd file{::mkstemp(path.data())};
        ASSERT_TRUE(file);
        ASSERT_EQ(::fchmod(file.get(), 0700), 0);
        ASSERT_EQ(::write(file.get(), "\1\2\3\4", 4), 4);
    }
    auto child = Child::start(path, {}, UniqueFd{::open("/dev/null", O_RDONLY)}, {});
    ::unlink(path.c_str());
    ASSERT_TRUE(child);
    const auto ending = child->wait();
    ASSERT_TRUE(ending);
    EXPECT_FALSE(ending->signalled);
    EXPECT_EQ(ending->value, 127);
    EXPECT_FALSE(Child::start(path, {}, UniqueFd{}, {}));  // and one that is not there is not started
}

}  // namespace
}  // namespace holdfast
