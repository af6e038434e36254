// SPDX-License-Identifier: Apache-2.0
// A real holdfast-io in its jail, with the test as its command line and its VMM.
#pragma once

#include "sys/process.hpp"
#include "tests/unit/vmm/io/vm.hpp"

namespace holdfast::io::test {

/// Fill in `config` beyond what is there, then start().
struct IoProcess {
    Shared shared;
    LaunchConfig config;
    UniqueFd console;   ///< the VMM's end
    UniqueFd handover;  ///< the command line's end
    std::unique_ptr<Client> client = shared.client();
    Child child;

    IoProcess() {
        config.memory = must(shared.memory.duplicate());
        config.requests = must(shared.requests.duplicate());
        config.completions = must(shared.completions.duplicate());
        auto pair = must(socket_pair(SOCK_STREAM));
        console = std::move(pair.first);
        config.console_guest = std::move(pair.second);
        config.console_listener = anonymous_listener();
        config.console_log = temporary_file(0);
    }

    /// A listening Unix socket that nobody will find.
    static UniqueFd anonymous_listener() {
        UniqueFd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        const sa_family_t family = AF_UNIX;  // autobind: unix(7)
        EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&family), sizeof family), 0);
        EXPECT_EQ(::listen(fd.get(), 16), 0);
        return fd;
    }

    /// Until the process says it is ready.
    void start() {
        auto pair = must(socket_pair(SOCK_SEQPACKET));
        handover = std::move(pair.first);
        child = must(Child::start(HF_IO_PROGRAM, {}, pair.second, {}));
        pair.second.reset();
        must(send_launch(handover, config));
        config = {};
        ASSERT_TRUE(wait_readable(handover));
        const auto report = must(receive_report(handover));
        ASSERT_TRUE(report);
        if (const auto* failed = std::get_if<Failed>(&*report)) FAIL() << failed->detail;
        ASSERT_TRUE(std::holds_alternative<Ready>(*report));
    }
    Ending wait_for_end() {
        EXPECT_TRUE(wait_readable(child.pidfd()));
        return must(child.wait());
    }
};

}  // namespace holdfast::io::test
