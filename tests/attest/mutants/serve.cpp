// SPDX-License-Identifier: Apache-2.0
// The unit tests as a server, because their keys take longer to make than most tests to run: each line of
// standard input is "SITE:CODE FILTER", and runs those tests in a child without that check. Answers "0" if
// they pass.
#include <cstdio>
#include <iostream>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

int run_without(const std::string& check, const std::string& filter) {
    ::setenv("HOLDFAST_MUTE", check.c_str(), 1);
    testing::GTEST_FLAG(filter) = filter;
    if (std::freopen("/dev/null", "w", stdout) == nullptr) return 2;
    return RUN_ALL_TESTS();
}

}  // namespace

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    if (argc != 2) return RUN_ALL_TESTS();
    std::string check;
    std::string filter;
    while (std::cin >> check >> filter) {
        const pid_t child = ::fork();
        if (child == 0) ::_exit(run_without(check, filter));
        int status = -1;
        if (child < 0 || ::waitpid(child, &status, 0) != child) return 1;
        std::cout << status << std::endl;
    }
    return 0;
}
