// SPDX-License-Identifier: Apache-2.0
// holdfast image: a bootable initramfs of holdfast-agent, the modules of a Debian kernel, and the user's
// program.
#include "cli/image.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/error.hpp"
#include "cli/files.hpp"
#include "cli/initramfs.hpp"
#include "cli/kernel_modules.hpp"
#include "cli/libraries.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/resources.hpp"
#include "guest_agent/agent/boot.hpp"
#include "guest_agent/agent/config.hpp"
#include "guest_agent/agent/tool.hpp"

namespace holdfast::cli {
namespace {

constexpr std::size_t kMaxFile = 1U << 30;
/// What our devices need. What is not there as a module is built in.
constexpr std::array<std::string_view, 10> kModules{
    "virtio_pci",  "virtio_blk", "virtio_net", "virtio_console", "virtio_rng", "vmw_vsock_virtio_transport",
    "pvpanic_pci", "button",     "evdev",      "tpm_crb"};
/// What an encrypted disk needs: dm-crypt, and the kernel's ciphers for cryptsetup itself.
constexpr std::array<std::string_view, 4> kDiskModules{"dm_crypt", "xts", "aesni_intel", "algif_skcipher"};

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span{text}); }

std::string default_modules() {
    utsname kernel{};
    ::uname(&kernel);
    return fmt::format("/lib/modules/{}", kernel.release);
}

std::string agent_path(const ImageOptions& options) {
    return options.agent.empty() ? program_directory() + "/holdfast-agent" : options.agent;
}

void add_modules(Initramfs& image, const ImageOptions& options, const agent::Config& config) {
    const KernelModules modules{options.modules.empty() ? default_modules() : options.modules};
    std::vector<std::string_view> names{kModules.begin(), kModules.end()};
    if (!config.disk.empty()) names.insert(names.end(), kDiskModules.begin(), kDiskModules.end());
    if (!config.verity.device.empty()) names.push_back("dm_verity");
    names.insert(names.end(), options.more_modules.begin(), options.more_modules.end());
    std::size_t index = 0;
    for (const std::string& path : modules.closure(names)) {
        std::string name = std::filesystem::path{path}.filename();
        name.resize(std::min(name.find(".ko"), name.size()));
        // The agent loads them in the order of their names.
        image.add_file(fmt::format("{}/{:03}-{}.ko", agent::kModulesDirectory + 1, index++, name),
                       module_file(path), 0644);
    }
}

/// The file's own right to be executed; all else is the image's.
unsigned mode_of(const std::string& path) {
    struct stat info{};
    return ::stat(path.c_str(), &info) == 0 && (info.st_mode & 0111) != 0 ? 0755U : 0644U;
}

void add_tree(Initramfs& image, const std::string& from) {
    std::vector<std::filesystem::path> paths;
    std::error_code wrong;
    for (auto at = std::filesystem::recursive_directory_iterator{from, wrong};
         !wrong && at != std::filesystem::recursive_directory_iterator{}; at.increment(wrong)) {
        paths.push_back(at->path());
    }
    if (wrong) {
        throw Failure{Code::Image, fmt::format("the tree '{}' cannot be read", printable(from)),
                      wrong.message(), "look at its rights"};
    }
    std::ranges::sort(paths);  // the same tree is the same image
    for (const auto& path : paths) {
        const std::string name = path.lexically_relative(from).string();
        const auto status = std::filesystem::symlink_status(path, wrong);
        if (std::filesystem::is_symlink(status)) {
            image.add_link(name, std::filesystem::read_symlink(path, wrong).string());
        } else if (std::filesystem::is_directory(status)) {
            image.add_folder(name);
        } else if (std::filesystem::is_regular_file(status)) {
            image.add_file(name, read_image_file(path, kMaxFile), mode_of(path));
        }
        // Sockets, pipes and devices: the guest makes its own.
    }
}

void add_files(Initramfs& image, const ImageOptions& options) {
    for (const std::string& pair : options.files) {
        const std::size_t sign = pair.find('=');
        if (sign == std::string::npos || sign == 0 || sign + 1 == pair.size()) {
            throw Failure{Code::Usage, fmt::format("--file '{}' is not understood", printable(pair)),
                          "it says where in the image a file goes, and which file",
                          "--file etc/app.conf=./app.conf"};
        }
        const std::string from = pair.substr(sign + 1);
        std::string_view name{pair};
        name = name.substr(0, sign);
        if (name.starts_with('/')) name.remove_prefix(1);
        image.add_file(name, read_image_file(from, kMaxFile), mode_of(from));
    }
}

/// Where it is in the image: by its own name, since some programs go by that.
std::string program_name(const ImageOptions& options) {
    return "program/" + std::filesystem::path{options.program}.filename().string();
}

std::string config_of(const ImageOptions& options) {
    std::string text;
    if (!options.config.empty()) {
        const auto bytes = read_image_file(options.config, agent::kMaxConfig);
        text.assign(reinterpret_cast<const char*>(bytes.data()),
                    bytes.size());  // SAFETY: bytes as characters
        if (!text.ends_with('\n')) text += '\n';
    }
    if (!options.program.empty()) text += fmt::format("program = /{}\n", program_name(options));
    for (const std::string& argument : options.arguments) text += fmt::format("argument = {}\n", argument);
    if (const auto parsed = agent::parse_config(text); !parsed) {
        throw Failure{Code::Image, "the agent could not read this configuration", parsed.error().what,
                      "docs/agent.md lists the keys; an argument has no line break"};
    }
    return text;
}

/// A program of this machine as `name`, with what it loads. What is there already, from a --tree or for
/// another program, stays.
void add_program(Initramfs& image, std::string_view name, const std::string& path) {
    const auto elf = read_image_file(path, kMaxFile);
    for (const std::string& library : libraries_of(path, elf)) {
        if (!image.has(library.substr(1)))
            image.add_file(library.substr(1), read_image_file(library, kMaxFile), 0755);
    }
    image.add_file(name, elf, 0755);
}

void add_programs(Initramfs& image, const ImageOptions& options, const agent::Config& config) {
    if (!config.disk.empty()) add_program(image, agent::kCryptsetup + 1, agent::kCryptsetup);
    if (!config.verity.device.empty()) add_program(image, agent::kVeritysetup + 1, agent::kVeritysetup);
    for (const std::string& path : options.with) {
        add_program(image, std::filesystem::absolute(path).string().substr(1), path);
    }
    if (!options.program.empty()) add_program(image, program_name(options), options.program);
}

}  // namespace

std::vector<std::byte> read_image_file(const std::string& path, std::size_t most) {
    const UniqueFd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    const auto size = fd ? file_size(fd) : os_error("open");
    if (!size || *size > most) {
        throw Failure{Code::Image, fmt::format("'{}' cannot go into an image", printable(path)),
                      size ? fmt::format("it has more than {}", size_words(most)) : reason_of(size.error()),
                      "name another file"};
    }
    std::vector<std::byte> bytes(*size);
    expect(pread_exact(fd, bytes, 0));
    return bytes;
}

int make_image(const ImageOptions& options) {
    Initramfs image;
    image.add_file("init", read_image_file(agent_path(options), kMaxFile), 0755);
    const std::string config = config_of(options);
    const agent::Config parsed = expect(agent::parse_config(config));
    image.add_file(agent::kConfigFile + 1, bytes_of(config), 0644);
    for (const std::string& tree : options.trees) add_tree(image, tree);
    add_files(image, options);
    add_programs(image, options, parsed);
    add_modules(image, options, parsed);
    const std::vector<std::byte> bytes = image.finish();
    write_file(options.out, bytes);
    print(
        "{}: {} image of {}, sha256 {}\n", printable(options.out), size_words(bytes.size()),
        options.program.empty() ? "holdfast-agent alone" : "holdfast-agent and " + printable(options.program),
        [&] {
            Sha256 hash;
            hash.update(bytes);
            return hex(hash.finish());
        }());
    return 0;
}

}  // namespace holdfast::cli
