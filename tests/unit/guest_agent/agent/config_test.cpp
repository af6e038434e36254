// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/config.hpp"

#include <gtest/gtest.h>

namespace holdfast::agent {
namespace {

TEST(AgentConfig, WhatIsNotSaidHasItsDefault) {
    const auto config = parse_config("# nothing\n\n");
    ASSERT_TRUE(config);
    EXPECT_TRUE(config->program.empty() && config->disk.empty() && config->broker_keys.empty());
    EXPECT_TRUE(config->power_off && config->serve_host);
    EXPECT_FALSE(config->peer_software_tpm);
    EXPECT_EQ(config->group_pace.rotation, std::chrono::seconds{300});
    EXPECT_EQ(config->group_pace.patience, std::chrono::seconds{60});
    EXPECT_EQ(config->group_pace.renewal, std::chrono::seconds{1800});
    EXPECT_EQ(config->group_pace.grace, std::chrono::seconds{300});
    EXPECT_EQ(config->channel_grace, std::chrono::seconds{300});
    EXPECT_EQ(config->group_founders, 0U);
}

TEST(AgentConfig, EachKeyIsTakenAndListsGrow) {
    const std::string key(64, 'a');
    const auto config = parse_config(
        "program = /bin/app\nargument = -v\nargument = two words\nat-end = stay\n"
        "calls-in = no\ndisk = /dev/vda\ndisk-secret = data\ndisk-mount = /data\n"
        "group-founders = 2\npeer-host = 000b01\npeer-host = 000b02\npeer-software-tpm = yes\nbroker-key = " +
        key + "\nbroker-key = " + key + "\r\n");
    ASSERT_TRUE(config) << config.error().what;
    EXPECT_EQ(config->program, "/bin/app");
    EXPECT_EQ(config->arguments, (std::vector<std::string>{"-v", "two words"}));
    EXPECT_FALSE(config->power_off || config->serve_host);
    EXPECT_EQ(config->disk + config->disk_secret + config->disk_mount, "/dev/vdadata/data");
    EXPECT_EQ(config->peer_hosts.size(), 2U);
    EXPECT_TRUE(config->peer_software_tpm);
    EXPECT_EQ(config->group_founders, 2U);
    ASSERT_EQ(config->broker_keys.size(), 2U);
    EXPECT_EQ(config->broker_keys[0][31], std::byte{0xaa});
}

TEST(AgentConfig, WhatIsNotUnderstoodIsAnError) {
    for (const char* const wrong : {"program",
                                    "program = app",
                                    "unknown = 1",
                                    "at-end = never",
                                    "calls-in = maybe",
                                    "disk = vda",
                                    "disk = /dev/vda",
                                    "broker-key = 12",
                                    "broker-key = zz",
                                    "peer-host = 0",
                                    "peer-software-tpm = 1",
                                    "group-rotation = 0",
                                    "group-patience = soon",
                                    "group-patience = 86401",
                                    "group-renewal = 0",
                                    "group-grace = 0",
                                    "channel-grace = 86401",
                                    "group-founders = 0",
                                    "group-founders = 65",
                                    "disk-root = /sbin/init",
                                    "verity = /dev/vdb",
                                    "verity-root = 12",
                                    "verity-blocks = 0",
                                    "verity-other = 1"}) {
        EXPECT_FALSE(parse_config(wrong)) << wrong;
    }
}

TEST(AgentConfig, ReadOnlyDataHaveARootHashAndAPlace) {
    const std::string root(64, 'b');
    const std::string all =
        "verity = /dev/vdb\nverity-mount = /models\nverity-blocks = 4096\nverity-root = " + root;
    const auto config = parse_config(all);
    ASSERT_TRUE(config) << config.error().what;
    EXPECT_EQ(config->verity.device + config->verity.mount, "/dev/vdb/models");
    EXPECT_EQ(config->verity.blocks, 4096U);
    EXPECT_EQ(config->verity.root, root);
    EXPECT_FALSE(parse_config(all.substr(0, all.rfind('\n'))));
}

TEST(AgentConfig, ARootOnTheDiskHasTheProgram) {
    const std::string disk = "disk = /dev/vda\ndisk-secret = data\ndisk-root = /sbin/init\n";
    const auto config = parse_config(disk);
    ASSERT_TRUE(config) << config.error().what;
    EXPECT_EQ(config->disk_root, "/sbin/init");
    EXPECT_FALSE(parse_config(disk + "program = /bin/app\n"));
    EXPECT_FALSE(parse_config(disk + "disk-mount = /data\n"));
}

TEST(AgentConfig, AGroupHasItsPace) {
    const auto config = parse_config("group-rotation = 5\ngroup-patience = 86400\ngroup-grace = 7\n");
    ASSERT_TRUE(config);
    EXPECT_EQ(config->group_pace.rotation, std::chrono::seconds{5});
    EXPECT_EQ(config->group_pace.patience, std::chrono::hours{24});
    EXPECT_EQ(config->group_pace.grace, std::chrono::seconds{7});
}

}  // namespace
}  // namespace holdfast::agent
