// SPDX-License-Identifier: Apache-2.0
#include "iommu/host/sysfs.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <optional>
#include <span>

#include <fcntl.h>
#include <linux/pci_regs.h>
#include <unistd.h>

#include "sys/fd.hpp"

namespace holdfast::iommu::host {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostText = 1 << 20;  ///< /proc/interrupts grows with the processors
constexpr std::uint32_t kBridgeClass = 0x0604;

/// A whole file, up to kMostText bytes of it; none if it cannot be read.
std::optional<std::string> read_file(const std::string& path) {
    const UniqueFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (!file) return std::nullopt;
    std::string text;
    std::array<char, 4096> part{};
    while (text.size() < kMostText) {
        const ssize_t got = ::read(file.get(), part.data(), part.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return std::nullopt;
        if (got == 0) break;
        text.append(part.data(), static_cast<std::size_t>(got));
    }
    return text;
}

std::vector<std::string> words_in(std::string_view text) {
    std::vector<std::string> words;
    std::string word;
    for (const char c : text) {
        if (c != ' ' && c != '\n' && c != '\t') {
            word += c;
            continue;
        }
        if (!word.empty()) words.push_back(std::move(word));
        word.clear();
    }
    if (!word.empty()) words.push_back(word);
    return words;
}

std::string first_word(const std::optional<std::string>& text) {
    const auto words = words_in(text.value_or(""));
    return words.empty() ? "" : words.front();
}

std::uint64_t hex_value(std::string_view text) noexcept {
    if (text.starts_with("0x")) text.remove_prefix(2);
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value, 16);
    return value;
}

std::string link_name(const std::string& path) {
    std::error_code error;
    const auto target = fs::read_symlink(path, error);
    return error ? "" : target.filename().string();
}

std::vector<std::string> names_in(const std::string& directory) {
    std::vector<std::string> names;
    std::error_code error;
    for (auto at = fs::directory_iterator{directory, error}; !error && at != fs::directory_iterator{};
         at.increment(error)) {
        names.push_back(at->path().filename().string());
    }
    std::ranges::sort(names);
    return names;
}

std::uint32_t word_at(std::span<const char> config, std::size_t at) noexcept {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) {
        value |= std::uint32_t{static_cast<unsigned char>(config[at + i])} << (8 * i);
    }
    return value;
}

}  // namespace

std::string Sysfs::device(const std::string& address) const {
    return root_ + "/sys/bus/pci/devices/" + address;
}

std::string Sysfs::driver_of(const std::string& address) const {
    return link_name(device(address) + "/driver");
}

bool Sysfs::is_bridge(const std::string& address) const {
    return hex_value(first_word(read_file(device(address) + "/class"))) >> 8 == kBridgeClass;
}

std::vector<std::string> Sysfs::devices() const {
    auto all = names_in(root_ + "/sys/bus/pci/devices");
    std::erase_if(all, [&](const std::string& name) { return !is_pci_address(name) || is_bridge(name); });
    return all;
}

Result<DeviceFacts> Sysfs::facts(const std::string& address) const {
    if (!is_pci_address(address)) return input_error("not a PCI address like 0000:01:00.0");
    const std::string path = device(address);
    std::error_code error;
    if (!fs::exists(path, error)) return Error{Fault::Input, ENOENT, "find the device"};
    DeviceFacts facts;
    facts.address = address;
    facts.ids = {.vendor = static_cast<std::uint16_t>(hex_value(first_word(read_file(path + "/vendor")))),
                 .device = static_cast<std::uint16_t>(hex_value(first_word(read_file(path + "/device"))))};
    facts.class_code = static_cast<std::uint32_t>(hex_value(first_word(read_file(path + "/class"))));
    facts.driver = driver_of(address);
    facts.reset_methods = words_in(read_file(path + "/reset_method").value_or(""));
    // The names of remapped interrupt chips begin so, with Intel's and with AMD's IOMMUs.
    facts.interrupts_remapped = read_file(root_ + "/proc/interrupts").value_or("").contains(" IR-");
    facts.unsafe_interrupts_allowed =
        first_word(read_file(root_ + "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts")) ==
        "Y";
    read_group(facts);
    read_capabilities(facts);
    return facts;
}

void Sysfs::read_group(DeviceFacts& facts) const {
    const std::string number = link_name(device(facts.address) + "/iommu_group");
    unsigned group = 0;
    if (number.empty() ||
        std::from_chars(number.data(), number.data() + number.size(), group).ec != std::errc{}) {
        return;
    }
    facts.group = group;
    const std::string path = root_ + "/sys/kernel/iommu_groups/" + std::to_string(group);
    facts.group_type = first_word(read_file(path + "/type"));
    for (const std::string& member : names_in(path + "/devices")) {
        facts.members.push_back(
            {.address = member, .is_bridge = is_bridge(member), .driver = driver_of(member)});
    }
    const auto words = words_in(read_file(path + "/reserved_regions").value_or(""));
    for (std::size_t i = 0; i + 2 < words.size(); i += 3) {
        facts.reserved.push_back(
            {.range = {Iova{hex_value(words[i])}, Iova{hex_value(words[i + 1])}}, .kind = words[i + 2]});
    }
}

/// Extended capabilities (PCI Express 5.0 §7.6.3) begin at 256; a device without them ends there. Without
/// privilege the kernel shows 64 bytes.
void Sysfs::read_capabilities(DeviceFacts& facts) const {
    const auto config = read_file(device(facts.address) + "/config");
    if (!config || config->size() < PCI_CFG_SPACE_SIZE) return;
    facts.capabilities_known = true;
    std::size_t at = PCI_CFG_SPACE_SIZE;
    // A chain fits into 4 KiB; the bound is for one that loops.
    for (int left = 1024; left > 0 && at >= PCI_CFG_SPACE_SIZE && at + 4 <= config->size(); --left) {
        const std::uint32_t header = word_at(*config, at);
        if (header == ~0U) return;
        facts.has_ats = facts.has_ats || PCI_EXT_CAP_ID(header) == PCI_EXT_CAP_ID_ATS;
        facts.has_pri = facts.has_pri || PCI_EXT_CAP_ID(header) == PCI_EXT_CAP_ID_PRI;
        at = PCI_EXT_CAP_NEXT(header);
    }
}

}  // namespace holdfast::iommu::host
