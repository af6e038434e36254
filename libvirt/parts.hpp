// SPDX-License-Identifier: Apache-2.0
// The options of a command line that refer to each other by id: a disk is a -blockdev and a -device, and so
// on. They are collected first and joined at the end, so that what nobody refers to is found.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libvirt/plan.hpp"

namespace holdfast::libvirt {

enum class Unit : std::uint8_t { Byte, Mebibyte };
/// "262144k", "2G"; a number alone is of `plain`. None: not a size, or too big.
[[nodiscard]] std::optional<std::uint64_t> bytes_of(std::string_view text, Unit plain) noexcept;
[[nodiscard]] std::optional<unsigned> number_of(std::string_view text) noexcept;
/// The number of an inherited descriptor.
[[nodiscard]] std::optional<int> fd_of(std::string_view text) noexcept;

class Parts {
public:
    /// False: not an option of these.
    Verdict<bool> read(const Option& option);
    /// Adds to the plan what the parts mean together.
    Verdict<void> join(Plan& plan);

private:
    struct Node {
        std::string driver;
        std::string file;  ///< name of the node below, if it has one
        std::string path;
        bool read_only = false;
    };
    struct Net {
        std::string type;
        int fd = -1;
        std::vector<int> others;
    };

    Verdict<void> read_object(Fields fields);
    Verdict<void> read_chardev(Fields fields);
    Verdict<void> read_blockdev(Fields fields);
    Verdict<void> read_netdev(Fields fields);
    Verdict<void> read_tpmdev(Fields fields);
    Verdict<void> read_add_fd(Fields fields);
    Verdict<void> read_mon(Fields fields);

    Verdict<void> add_device(Fields& fields, Plan& plan);
    Verdict<void> add_console(Fields& fields, const char* kind, Plan& plan);
    Verdict<void> add_disk(Fields& fields, const std::string& id, Plan& plan);
    Verdict<void> add_net(Fields& fields, Plan& plan);
    Verdict<void> add_tpm(Fields& fields, Plan& plan);
    Verdict<Chardev> take_chardev(const std::string& id);

    std::map<std::string, Chardev, std::less<>> chardevs_;
    std::map<std::string, Node, std::less<>> nodes_;
    std::map<std::string, Net, std::less<>> nets_;
    std::map<std::string, std::string, std::less<>> tpms_;  ///< chardev by id
    std::map<std::string, int, std::less<>> fd_sets_;
    std::vector<std::string> rngs_;
    std::vector<Fields> devices_;
    std::string monitor_;  ///< id of its chardev
    std::optional<std::uint64_t> ram_bytes_;
};

}  // namespace holdfast::libvirt
