// SPDX-License-Identifier: Apache-2.0
#include "cli/libraries.hpp"

#include <algorithm>
#include <filesystem>
#include <string_view>

#include <fmt/format.h>
#include <sys/mman.h>

#include "cli/error.hpp"
#include "cli/output.hpp"
#include "sys/process.hpp"

namespace holdfast::cli {
namespace {

constexpr std::string_view kLoader = "/lib64/ld-linux-x86-64.so.2";

/// Something that a program loads by itself later, such as a provider of OpenSSL: it names no loader.
bool is_library(const std::string& path) {
    return std::filesystem::path{path}.filename().string().find(".so") != std::string::npos;
}

bool names_loader(std::span<const std::byte> elf) {
    return !std::ranges::search(elf, std::as_bytes(std::span{kLoader})).empty();
}

/// What `ld.so --list` prints: it maps the program and does not run it.
Result<std::string> listing(const std::string& program) {
    const UniqueFd out{::memfd_create("libraries", MFD_CLOEXEC)};
    if (!out) return os_error("memfd_create");
    Child loader = HF_TRY(Child::start(std::string{kLoader}, {"--list", std::filesystem::absolute(program)},
                                       UniqueFd{}, {.out = out.get()}));
    const Ending ending = HF_TRY(loader.wait());
    if (ending.signalled || ending.value != 0) return input_error("its loader does not find all of them");
    std::string text(HF_TRY(file_size(out)), '\0');
    HF_TRY(pread_exact(out, std::as_writable_bytes(std::span{text}), 0));
    return text;
}

}  // namespace

std::vector<std::string> libraries_of(const std::string& program, std::span<const std::byte> elf) {
    if (!names_loader(elf) && !is_library(program)) return {};
    const auto text = listing(program);
    if (!text) {
        throw Failure{Code::Image, fmt::format("the libraries of '{}' cannot be found", printable(program)),
                      reason_of(text.error()), "install what it needs here, or give it as a --tree"};
    }
    // Lines: "\tNAME => PATH (ADDRESS)", "\tPATH (ADDRESS)" of the loader, and one of the kernel's without a
    // path.
    std::vector<std::string> paths;
    for (std::string_view rest = *text; !rest.empty();) {
        const std::string_view line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(line.size() + 1, rest.size()));
        const std::size_t begin = line.find('/');
        const std::size_t end = line.rfind(" (");
        if (begin != std::string_view::npos && end != std::string_view::npos && begin < end) {
            paths.emplace_back(line.substr(begin, end - begin));
        }
    }
    return paths;
}

}  // namespace holdfast::cli
