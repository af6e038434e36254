// SPDX-License-Identifier: Apache-2.0
#include "bench/conductor/runner.hpp"

#include <algorithm>
#include <array>
#include <csignal>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/pipe.hpp"

namespace holdfast::bench {
namespace {

// A program that prints more than this has gone wrong.
constexpr std::size_t kMostOutput = 4U << 20;

std::vector<std::string> words_of(std::string_view text) {
    std::vector<std::string> words;
    while (!text.empty()) {
        const std::string_view word = text.substr(0, text.find(' '));
        text.remove_prefix(std::min(word.size() + 1, text.size()));
        if (!word.empty()) words.emplace_back(word);
    }
    return words;
}

struct Said {
    std::string out;
    int status = 0;  ///< as waitpid() tells it
    bool stopped = false;
};

/// In a process group of its own, so that what it starts ends with it.
Result<Said> run(const std::vector<std::string>& command, const std::function<bool()>& stop) {
    auto [ours, theirs] = HF_TRY(make_pipe());
    std::vector<char*> words;
    for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    const pid_t child = ::fork();
    if (child < 0) return os_error("fork");
    if (child == 0) {
        ::setpgid(0, 0);
        const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
        ::dup2(null, STDIN_FILENO);
        ::dup2(theirs.get(), STDOUT_FILENO);
        ::dup2(null, STDERR_FILENO);
        ::execv(words.front(), words.data());
        ::_exit(127);
    }
    theirs.reset();
    Said said;
    std::array<char, 65536> part;
    while (true) {
        pollfd ready{.fd = ours.get(), .events = POLLIN, .revents = 0};
        if (::poll(&ready, 1, 200) > 0) {
            const ssize_t got = ::read(ours.get(), part.data(), part.size());
            if (got <= 0) break;
            said.out.append(part.data(), static_cast<std::size_t>(got));
        }
        if (stop() || said.out.size() > kMostOutput) {
            said.stopped = true;
            ::kill(-child, SIGTERM);
            break;
        }
    }
    while (::waitpid(child, &said.status, 0) < 0 && errno == EINTR) {
    }
    return said;
}

/// None: it is not there.
std::vector<std::string> command_of(const Suite& suite, bool quick, const Places& places) {
    const std::string name{suite.program};
    std::vector<std::string> command{places.programs + "/bench/" + name};
    if (suite.needs.contains("python")) {
        command = {"/usr/bin/python3", places.sources + '/' + name, "--build", places.programs};
    }
    if (::access(command[command.size() > 1 ? 1 : 0].c_str(), R_OK) < 0) return {};
    for (std::string& word : words_of(quick ? suite.quick : suite.full)) {
        if (word == "@VECTORS") word = places.vectors;
        if (word == "@TMP") word = places.scratch;
        command.push_back(std::move(word));
    }
    return command;
}

}  // namespace

Outcome measure(const Suite& suite, bool quick, int runs, const Places& places,
                const std::function<bool()>& stop) {
    Outcome outcome;
    const auto give_up = [&](std::string why) {
        outcome.not_measured = std::move(why);
        return outcome;
    };
    if (auto why = missing(suite); !why.empty()) return give_up(std::move(why));
    if (suite.needs.contains("vectors") && ::access(places.vectors.c_str(), R_OK) < 0) {
        return give_up("no vectors of evidence at " + places.vectors);
    }
    const auto command = command_of(suite, quick, places);
    if (command.empty()) {
        return give_up(fmt::format("{} is not built (meson configure build -Dbench=enabled)", suite.program));
    }
    for (int i = 0; i < runs; ++i) {
        const auto said = run(command, stop);
        if (!said) return give_up(said.error().what);
        if (said->stopped) return give_up("interrupted");
        if (!WIFEXITED(said->status) || WEXITSTATUS(said->status) != 0) {
            return give_up(fmt::format("{} failed with status {}", fmt::join(command, " "),
                                       WIFEXITED(said->status) ? WEXITSTATUS(said->status) : -1));
        }
        if (suite.prints == Prints::Lines) take_lines(outcome.figures, said->out);
        else if (!take_google_json(outcome.figures, said->out)) return give_up("it printed no JSON");
    }
    return outcome;
}

}  // namespace holdfast::bench
