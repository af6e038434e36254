// SPDX-License-Identifier: Apache-2.0
// sandbox-compiler: turns one policy into C++ (build time), or all of them into documentation.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <set>

#include <fmt/ranges.h>

#include "sys/sandbox/compiler/emit.hpp"
#include "sys/sandbox/compiler/policy.hpp"

namespace {

using holdfast::sandbox::compiler::Allowance;

constexpr const char* kUsage =
    "usage: sandbox-compiler --cpp FILE.policy OUT.cpp     the filter as a C++ array\n"
    "       sandbox-compiler --markdown FILE.policy...     what each program may do, for docs/\n";

void write_cpp(const std::string& path, const std::string& out_path) {
    const std::string name = std::filesystem::path{path}.stem();
    std::string identifier = name;
    std::ranges::replace(identifier, '-', '_');
    const auto code = compile(holdfast::sandbox::compiler::read_policy(path));

    std::string out = fmt::format("// Made from {}.policy by sandbox-compiler; do not edit.\n"
                                  "#include \"sys/sandbox/filter.hpp\"\n\n"
                                  "namespace holdfast::sandbox::policy {{\n\n"
                                  "static constexpr sock_filter kCode[] = {{\n",
                                  name);
    for (const sock_filter& one : code) {
        out += fmt::format("    {{{:#06x}, {}, {}, {:#010x}}},\n", one.code, one.jt, one.jf, one.k);
    }
    out += fmt::format("}};\nextern const Filter {0};\nconstinit const Filter {0}{{\"{1}\", kCode}};\n\n"
                       "}}  // namespace holdfast::sandbox::policy\n",
                       identifier, name);
    std::ofstream file{out_path};
    file << out;
    if (!file.flush()) throw std::runtime_error(out_path + ": cannot be written");
}

std::string why(const Allowance& allowance) {
    std::string text = allowance.reason;
    const auto add = [&](const char* label, const std::string& more) {
        if (!more.empty())
            text += fmt::format("{}{}{}", text.empty() ? "" : text.ends_with('.') ? " " : "; ", label, more);
    };
    add("", allowance.justify);
    add("rare: ", allowance.rare);
    add("hot: ", allowance.hot);
    return text;
}

/// One table a policy, a row a rule; what it includes has a table of its own.
void write_markdown(const std::string& path) {
    const std::string name = std::filesystem::path{path}.filename();
    auto allowances = holdfast::sandbox::compiler::read_policy(path);
    std::set<std::string> included;
    for (const Allowance& one : allowances) included.insert(one.where.substr(0, one.where.find(':')));
    included.erase(name);
    std::erase_if(allowances, [&](const Allowance& one) { return !one.where.starts_with(name + ":"); });

    fmt::print("\n## {}\n\n{}{}| system calls | why |\n|---|---|\n", name,
               included.empty() ? "" : fmt::format("Besides all of {}:", fmt::join(included, ", ")),
               included.empty() ? "" : "\n\n");
    for (auto row = allowances.begin(); row != allowances.end();) {
        const auto end =
            std::find_if(row, allowances.end(), [&](const Allowance& a) { return a.where != row->where; });
        std::string calls;
        for (auto one = row; one != end; ++one) {
            calls +=
                fmt::format("{}`{}{}`", one == row ? "" : ", ", one->text, one->fails_with ? " fails" : "");
        }
        std::string safe;
        for (const char c : calls) safe += c == '|' ? std::string{"\\|"} : std::string(1, c);
        fmt::print("| {} | {} |\n", safe, why(*row));
        row = end;
    }
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc == 4 && std::strcmp(argv[1], "--cpp") == 0) {
        write_cpp(argv[2], argv[3]);
    } else if (argc >= 3 && std::strcmp(argv[1], "--markdown") == 0) {
        fmt::print(
            "<!-- Made from sys/sandbox/policy by sandbox-compiler; a test compares them. -->\n"
            "# What each process may ask of the kernel\n\n"
            "Everything else kills the process. How to read and change it: [sandbox.md](sandbox.md).\n");
        for (int i = 2; i < argc; ++i) write_markdown(argv[i]);
    } else {
        std::fputs(kUsage, stderr);
        return 2;
    }
    return 0;
} catch (const std::exception& error) {
    std::cerr << "sandbox-compiler: " << error.what() << '\n';
    return 1;
}
