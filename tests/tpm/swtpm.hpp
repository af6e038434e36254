// SPDX-License-Identifier: Apache-2.0
// A real software TPM in a process of its own: swtpm on a socket pair.
#pragma once

#include <filesystem>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/socket.hpp"
#include "vtpm/channel/client.hpp"

namespace holdfast::tpm {

class Swtpm {
public:
    static bool is_there() { return ::access("/usr/bin/swtpm", X_OK) == 0; }

    Swtpm() {
        std::string folder = (std::filesystem::temp_directory_path() / "holdfast-swtpm-XXXXXX").string();
        EXPECT_NE(::mkdtemp(folder.data()), nullptr);
        folder_ = folder;
        auto [ours, theirs] = socket_pair(SOCK_STREAM).value();
        control_ = std::move(ours);
        const std::string state = "dir=" + folder;
        const std::string channel = "type=unixio,clientfd=" + std::to_string(theirs.get());
        child_ = ::fork();
        if (child_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            ::fcntl(theirs.get(), F_SETFD, 0);
            ::execl("/usr/bin/swtpm", "swtpm", "socket", "--tpm2", "--tpmstate", state.c_str(), "--ctrl",
                    channel.c_str(), nullptr);
            ::_exit(127);
        }
        auto [data, data_theirs] = socket_pair(SOCK_STREAM).value();
        data_ = std::move(data);
        EXPECT_TRUE(vtpm::channel::Client::set_data_fd(control_, data_theirs));
    }
    ~Swtpm() {
        kill();
        std::filesystem::remove_all(folder_);
    }
    void kill() {
        if (child_ <= 0) return;
        ::kill(child_, SIGKILL);
        ::waitpid(child_, nullptr, 0);
        child_ = -1;
    }
    /// As the supervisor hands them to each boot's VMM.
    UniqueFd control() const { return control_.duplicate().value(); }
    UniqueFd data() const { return data_.duplicate().value(); }

private:
    std::filesystem::path folder_;
    UniqueFd control_;
    UniqueFd data_;
    pid_t child_ = -1;
};

}  // namespace holdfast::tpm
