// SPDX-License-Identifier: Apache-2.0
// holdfast-qemu: hostile command lines (one word a line, after a first byte that is 0), domain XML (after a
// 2), and hostile monitor clients.
#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "libvirt/answers.hpp"
#include "libvirt/host_devices.hpp"
#include "libvirt/json.hpp"
#include "libvirt/plan.hpp"

using namespace holdfast;

namespace {

void read_command_line(std::string all) {
    std::vector<const char*> words;
    std::ranges::replace(all, '\n', '\0');
    for (std::size_t at = 0; at < all.size(); at += std::string_view{all.c_str() + at}.size() + 1) {
        words.push_back(all.c_str() + at);
    }
    const auto plan = libvirt::make_plan(words, words);
    if (plan && !plan->probe && plan->name.empty()) std::abort();
    if (!plan && plan.error().what.empty()) std::abort();
}

void answer_client(std::string_view text) {
    const libvirt::Plan plan{
        .name = "box", .disks = {{.id = "d", .node = "n", .path = "/p"}}, .devices = {"d"}};
    libvirt::Domain domain{.plan = plan};
    control::Session session{.negotiated = true};
    const std::string reply = libvirt::answer(text, session, domain);
    if (!reply.ends_with("\r\n") || std::ranges::count(reply, '\n') != 1) std::abort();
    const auto message = libvirt::parse_object(reply);
    if (!message || message->contains("return") == message->contains("error")) std::abort();
}

void read_domain(std::string_view xml) {
    const auto found = libvirt::host_devices_in(xml);
    if (!found) return;
    for (const std::string& address : found->pci) {
        if (address.size() != std::string_view{"0000:00:00.0"}.size()) std::abort();
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1) return 0;
    // SAFETY: bytes as characters.
    const std::string_view all{reinterpret_cast<const char*>(data + 1), size - 1};
    if (data[0] == 0) read_command_line(std::string{all});
    else if (data[0] == 2) read_domain(all);
    else answer_client(all);
    return 0;
}
