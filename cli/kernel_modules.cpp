// SPDX-License-Identifier: Apache-2.0
#include "cli/kernel_modules.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <lzma.h>

#include "cli/error.hpp"
#include "cli/image.hpp"
#include "cli/output.hpp"

namespace holdfast::cli {
namespace {

constexpr std::size_t kMaxList = 16U << 20;
constexpr std::size_t kMaxModule = 64U << 20;
constexpr std::uint64_t kMaxUnpackMemory = 256U << 20;

/// "kernel/drivers/block/virtio_blk.ko.xz" is virtio_blk; names are the same with '-' and '_'.
std::string name_of(std::string_view path) {
    std::string name{path.substr(path.rfind('/') + 1)};
    name.resize(std::min(name.find(".ko"), name.size()));
    std::ranges::replace(name, '-', '_');
    return name;
}

std::string text_file(const std::string& path) {
    const auto bytes = read_image_file(path, kMaxList);
    // SAFETY: bytes as characters.
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<std::string> words_of(std::string_view line) {
    std::vector<std::string> words;
    while (!line.empty()) {
        const std::size_t end = std::min(line.find(' '), line.size());
        if (end > 0) words.emplace_back(line.substr(0, end));
        line.remove_prefix(std::min(end + 1, line.size()));
    }
    return words;
}

}  // namespace

KernelModules::KernelModules(std::string folder) : folder_{std::move(folder)} {
    const std::string list = text_file(folder_ + "/modules.dep");
    for (std::string_view rest = list; !rest.empty();) {
        const std::size_t end = std::min(rest.find('\n'), rest.size());
        const std::string_view line = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos) continue;
        rows_.push_back(
            {.path = std::string{line.substr(0, colon)}, .needs = words_of(line.substr(colon + 1))});
    }
    builtin_ = text_file(folder_ + "/modules.builtin");
}

const KernelModules::Row* KernelModules::row_of(std::string_view name) const {
    const std::string wanted = name_of(name);
    const auto found =
        std::ranges::find_if(rows_, [&](const Row& row) { return name_of(row.path) == wanted; });
    return found == rows_.end() ? nullptr : &*found;
}

bool KernelModules::has(std::string_view name) const {
    if (row_of(name)) return true;
    const std::string wanted = name_of(name);
    for (std::string_view rest = builtin_; !rest.empty();) {
        const std::size_t end = std::min(rest.find('\n'), rest.size());
        if (name_of(rest.substr(0, end)) == wanted) return true;
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return false;
}

std::vector<std::string> KernelModules::closure(std::span<const std::string_view> names) const {
    std::vector<std::string> paths;
    const auto add = [&](const std::string& path) {
        const std::string whole = folder_ + '/' + path;
        if (std::ranges::find(paths, whole) == paths.end()) paths.push_back(whole);
    };
    for (const std::string_view name : names) {
        const Row* const row = row_of(name);
        if (!row && !has(name)) {
            throw Failure{
                Code::Image, fmt::format("this kernel has no module '{}'", printable(name)),
                fmt::format("neither modules.dep nor modules.builtin in {} has it", printable(folder_)),
                "take another kernel, for instance Debian's linux-image-cloud-amd64"};
        }
        if (!row) continue;
        // modules.dep has what must be loaded first at the end.
        for (auto need = row->needs.rbegin(); need != row->needs.rend(); ++need) add(*need);
        add(row->path);
    }
    return paths;
}

std::vector<std::byte> module_file(const std::string& path) {
    std::vector<std::byte> packed = read_image_file(path, kMaxModule);
    if (!path.ends_with(".xz")) return packed;
    std::vector<std::byte> plain(4 * packed.size() + 4096);
    for (;;) {
        std::uint64_t memory = kMaxUnpackMemory;
        std::size_t in = 0;
        std::size_t out = 0;
        // SAFETY (both): bytes as bytes, which liblzma calls uint8_t.
        const lzma_ret done = lzma_stream_buffer_decode(
            &memory, 0, nullptr, reinterpret_cast<const std::uint8_t*>(packed.data()), &in, packed.size(),
            reinterpret_cast<std::uint8_t*>(plain.data()), &out, plain.size());
        if (done == LZMA_OK) {
            plain.resize(out);
            return plain;
        }
        if (done != LZMA_BUF_ERROR || plain.size() > kMaxModule) {
            throw Failure{Code::Image, fmt::format("the module '{}' cannot be unpacked", printable(path)),
                          fmt::format("xz says {}", static_cast<int>(done)),
                          "install the kernel's package again"};
        }
        plain.resize(2 * plain.size());
    }
}

}  // namespace holdfast::cli
