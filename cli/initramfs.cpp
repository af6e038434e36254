// SPDX-License-Identifier: Apache-2.0
#include "cli/initramfs.hpp"

#include <cstdint>

#include <fmt/format.h>
#include <sys/stat.h>

#include "cli/error.hpp"
#include "cli/output.hpp"

namespace holdfast::cli {
namespace {

constexpr std::string_view kMagic = "070701";
constexpr std::string_view kTrailer = "TRAILER!!!";
constexpr unsigned kConsoleMajor = 5;  // Documentation/admin-guide/devices.txt: /dev/console
constexpr unsigned kConsoleMinor = 1;

void judge_name(std::string_view name) {
    bool bad = name.empty();
    for (std::string_view rest = name; !rest.empty() && !bad;) {
        const std::size_t end = std::min(rest.find('/'), rest.size());
        const std::string_view part = rest.substr(0, end);
        bad = part.empty() || part == "." || part == ".." || rest.ends_with('/');
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    if (!bad) return;
    throw Failure{Code::Image, fmt::format("'{}' cannot be a file of an image", printable(name)),
                  "a name there has no empty part, no '.' and no '..'", "give it as etc/app.conf=FILE"};
}

}  // namespace

Initramfs::Initramfs() {
    add_folder("dev");
    // The kernel opens it for the first process before anything is mounted.
    add("dev/console", S_IFCHR | 0600, {}, kConsoleMajor, kConsoleMinor);
}

void Initramfs::add_file(std::string_view name, std::span<const std::byte> bytes, unsigned mode) {
    judge_name(name);
    if (bytes.size() > UINT32_MAX) {
        throw Failure{Code::Image, fmt::format("'{}' is too large for an image", printable(name)),
                      "a file in an initramfs has less than 4 GiB", "put it on a disk"};
    }
    if (has(name)) {
        throw Failure{Code::Image, fmt::format("'{}' would be twice in the image", printable(name)),
                      "two flags give a file of this name, or one gives what the agent needs",
                      "leave one out"};
    }
    add_parents(name);
    add(name, S_IFREG | mode, bytes, 0, 0);
}

void Initramfs::add_folder(std::string_view name) {
    judge_name(name);
    if (has(name)) return;
    add_parents(name);
    add(name, S_IFDIR | 0755, {}, 0, 0);
}

void Initramfs::add_link(std::string_view name, std::string_view target) {
    judge_name(name);
    add_parents(name);
    add(name, S_IFLNK | 0777, std::as_bytes(std::span{target}), 0, 0);
}

void Initramfs::add_parents(std::string_view name) {
    const std::size_t end = name.rfind('/');
    if (end != std::string_view::npos) add_folder(name.substr(0, end));
}

void Initramfs::pad() { bytes_.resize((bytes_.size() + 3) / 4 * 4); }

void Initramfs::add(std::string_view name, unsigned mode, std::span<const std::byte> bytes, unsigned major,
                    unsigned minor) {
    names_.emplace(name);
    const std::string head =
        fmt::format("{}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}",
                    kMagic, ++inode_, mode, 0, 0, 1, 0, bytes.size(), 0, 0, major, minor, name.size() + 1, 0);
    const auto append = [this](std::span<const std::byte> more) {
        bytes_.insert(bytes_.end(), more.begin(), more.end());
    };
    append(std::as_bytes(std::span{head}));
    append(std::as_bytes(std::span{name}));
    bytes_.push_back(std::byte{});
    pad();
    append(bytes);
    pad();
}

std::vector<std::byte> Initramfs::finish() {
    add(kTrailer, 0, {}, 0, 0);
    return std::move(bytes_);
}

}  // namespace holdfast::cli
