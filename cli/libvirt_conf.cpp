// SPDX-License-Identifier: Apache-2.0
#include "cli/libvirt_conf.hpp"

#include <fstream>

#include <unistd.h>

namespace holdfast::cli {

std::string qemu_conf(std::string_view name) {
    std::ifstream lines{"/etc/libvirt/qemu.conf"};
    std::string value;
    for (std::string line; std::getline(lines, line);) {
        const std::size_t equals = line.find('=');
        const std::size_t start = line.find_first_not_of(" \t");
        if (equals == std::string::npos || line.compare(start, name.size(), name) != 0) continue;
        value = line.substr(equals + 1);
        std::erase_if(value, [](char c) { return c == ' ' || c == '\t' || c == '"'; });
    }
    return value;
}

std::string domain_user() {
    const std::string user = qemu_conf("user");
    if (user == "+0") return "root";
    return user.empty() ? "libvirt-qemu" : user;
}

bool has_apparmor() { return ::access("/etc/apparmor.d/abstractions/libvirt-qemu", F_OK) == 0; }

}  // namespace holdfast::cli
