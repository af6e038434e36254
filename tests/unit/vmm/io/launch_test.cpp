// SPDX-License-Identifier: Apache-2.0
#include "vmm/io/launch.hpp"

#include <sys/stat.h>

#include "sys/wire/codec.hpp"
#include "tests/unit/vmm/io/vm.hpp"

namespace holdfast::io {
namespace {

using test::must;

bool same_file(const UniqueFd& a, const UniqueFd& b) {
    struct stat left{};
    struct stat right{};
    return ::fstat(a.get(), &left) == 0 && ::fstat(b.get(), &right) == 0 && left.st_ino == right.st_ino &&
           left.st_dev == right.st_dev;
}

struct IoLaunch : testing::Test {
    std::pair<UniqueFd, UniqueFd> ends = must(socket_pair(SOCK_SEQPACKET));
    LaunchConfig config = minimal();

    static LaunchConfig minimal() {
        LaunchConfig made;
        for (const auto member :
             {&LaunchConfig::memory, &LaunchConfig::requests, &LaunchConfig::completions,
              &LaunchConfig::console_guest, &LaunchConfig::console_listener, &LaunchConfig::console_log}) {
            made.*member = test::temporary_file(0);
        }
        return made;
    }
};

TEST_F(IoLaunch, EverythingArrivesInItsPlace) {
    config.disks.push_back({.file = test::temporary_file(0), .size_bytes = 1024, .read_only = true});
    config.disks.push_back({.file = test::temporary_file(0), .size_bytes = 512, .direct = true});
    config.net = test::temporary_file(0);
    config.net_kind = NetKind::Passt;
    config.vsock_cid = 42;
    must(send_launch(ends.first, config));
    const auto got = must(receive_launch(ends.second));
    EXPECT_TRUE(same_file(got.memory, config.memory));
    EXPECT_TRUE(same_file(got.console_log, config.console_log));
    EXPECT_TRUE(same_file(got.net, config.net));
    EXPECT_FALSE(got.console_client);
    EXPECT_FALSE(got.vsock_listener);
    EXPECT_EQ(got.net_kind, NetKind::Passt);
    EXPECT_EQ(got.vsock_cid, 42U);
    ASSERT_EQ(got.disks.size(), 2U);
    EXPECT_TRUE(same_file(got.disks[0].file, config.disks[0].file));
    EXPECT_TRUE(same_file(got.disks[1].file, config.disks[1].file));
    EXPECT_EQ(got.disks[0].size_bytes, 1024U);
    EXPECT_TRUE(got.disks[0].read_only);
    EXPECT_FALSE(got.disks[0].direct);
    EXPECT_TRUE(got.disks[1].direct);
}

TEST_F(IoLaunch, MissingDescriptorIsRefused) {
    config.console_log.reset();
    must(send_launch(ends.first, config));
    EXPECT_FALSE(receive_launch(ends.second));
}

TEST_F(IoLaunch, DiskThatIsNotWholeSectorsIsRefused) {
    config.disks.push_back({.file = test::temporary_file(0), .size_bytes = 1000});
    must(send_launch(ends.first, config));
    EXPECT_FALSE(receive_launch(ends.second));
}

TEST_F(IoLaunch, TooManyDisksAreRefused) {
    for (int i = 0; i <= kMaxDisks; ++i) config.disks.push_back({.file = test::temporary_file(0)});
    must(send_launch(ends.first, config));
    EXPECT_FALSE(receive_launch(ends.second));
}

TEST_F(IoLaunch, ClosedSocketIsAnErrorNotAnEmptyLaunch) {
    ends.first.reset();
    EXPECT_FALSE(receive_launch(ends.second));
}

TEST_F(IoLaunch, ReportsComeBackAsTheyWereSent) {
    must(send_report(ends.first, Ready{}));
    must(send_report(ends.first, VsockConnect{.token = 7, .port = 1024}));
    must(send_report(ends.first, Failed{"out of luck"}));
    EXPECT_TRUE(std::holds_alternative<Ready>(*must(receive_report(ends.second))));
    const auto connect = std::get<VsockConnect>(*must(receive_report(ends.second)));
    EXPECT_EQ(connect.token, 7U);
    EXPECT_EQ(connect.port, 1024U);
    EXPECT_EQ(std::get<Failed>(*must(receive_report(ends.second))).detail, "out of luck");
    ends.first.reset();
    EXPECT_FALSE(must(receive_report(ends.second)));
}

TEST_F(IoLaunch, UnknownReportIsAPeerFault) {
    for (const std::uint8_t kind : std::initializer_list<std::uint8_t>{0, 4, 255}) {
        WireWriter writer;
        writer.put(kind);
        must(send_message(ends.first, writer.bytes()));
        EXPECT_FALSE(receive_report(ends.second));
    }
}

TEST_F(IoLaunch, AnswerCarriesADescriptorOrARefusal) {
    VsockAnswer answer{.token = 9, .stream = test::temporary_file(0)};
    must(send_answer(ends.first, answer));
    must(send_answer(ends.first, {.token = 10, .stream = {}}));
    const auto granted = must(receive_answer(ends.second));
    ASSERT_TRUE(granted);
    EXPECT_EQ(granted->token, 9U);
    EXPECT_TRUE(same_file(granted->stream, answer.stream));
    const auto refused = must(receive_answer(ends.second));
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->token, 10U);
    EXPECT_FALSE(refused->stream);
}

}  // namespace
}  // namespace holdfast::io
