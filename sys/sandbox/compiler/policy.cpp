// SPDX-License-Identifier: Apache-2.0
#include "sys/sandbox/compiler/policy.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <utility>

#include <sys/mman.h>

#include "sys/sandbox/compiler/symbols.hpp"

namespace holdfast::sandbox::compiler {
namespace {

// What reaches other processes, files, the network or the kernel's larger attack surface: allowed
// only with a reason that a reviewer can judge.
// clang-format off: one name a line would be a page.
constexpr auto kDangerous = std::to_array<std::string_view>({
    "add_key", "bind", "bpf", "chroot", "clone", "clone3", "connect", "creat", "execve", "execveat",
    "finit_module", "fork", "fsconfig", "fsmount", "fsopen", "init_module", "io_uring_register",
    "io_uring_setup", "kcmp", "kexec_load", "keyctl", "kill", "listen", "memfd_secret", "mount",
    "mount_setattr", "move_mount", "name_to_handle_at", "open", "open_by_handle_at", "open_tree",
    "openat", "openat2", "perf_event_open", "personality", "pidfd_getfd", "pidfd_open",
    "pidfd_send_signal", "pivot_root", "pkey_mprotect", "prctl", "prlimit64", "process_madvise",
    "process_vm_readv", "process_vm_writev", "ptrace", "request_key", "rt_sigqueueinfo",
    "rt_tgsigqueueinfo", "seccomp", "setns", "socket", "socketpair", "syslog", "tgkill", "tkill",
    "umount2", "unlink", "unlinkat", "unshare", "userfaultfd", "vfork"});
// clang-format on

struct Statement {
    std::string text;
    std::string comment;
    int line = 0;
};

std::string trim(std::string_view text) {
    const auto first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos) return {};
    return std::string{text.substr(first, text.find_last_not_of(" \t") - first + 1)};
}

void append(std::string& text, const std::string& more) {
    if (!text.empty() && !more.empty()) text += ' ';
    text += more;
}

/// Joins continued lines and ties each comment to the statement it is about.
std::vector<Statement> statements(const std::string& text) {
    std::vector<Statement> out;
    std::istringstream lines{text};
    std::string line;
    std::string above;  // comment lines since the last blank line or statement
    bool open = false;  // whether a continuation may follow
    for (int number = 1; std::getline(lines, line); ++number) {
        const auto hash = line.find('#');
        const std::string code = trim(line.substr(0, hash));
        const std::string comment = hash == std::string::npos ? "" : trim(line.substr(hash + 1));
        if (code.empty()) {
            if (hash == std::string::npos) above.clear();
            else append(above, comment);
            open = open && hash != std::string::npos;
        } else if (open && (line[0] == ' ' || line[0] == '\t')) {
            append(out.back().text, code);
            append(out.back().comment, comment);
        } else {
            append(above, comment);
            out.push_back({.text = code, .comment = std::exchange(above, {}), .line = number});
            open = true;
        }
    }
    return out;
}

/// Takes `keyword` and the text behind it, up to the next keyword, out of the statement.
std::string take_marker(std::string& statement, std::string_view keyword) {
    const auto at = statement.find(keyword);
    if (at == std::string::npos) return {};
    auto end = std::string::npos;
    for (const std::string_view other : {"justify:", "rare:", "hot:"}) {
        const auto next = statement.find(other, at + keyword.size());
        end = std::min(end, next);
    }
    const std::string marker = trim(std::string_view{statement}.substr(
        at + keyword.size(), end == std::string::npos ? end : end - at - keyword.size()));
    statement = trim(statement.substr(0, at) + (end == std::string::npos ? "" : statement.substr(end)));
    return marker;
}

struct Value {
    std::uint64_t number = 0;
    std::string text;
};
struct Condition {
    unsigned argument = 0;
    std::optional<Value> mask;
    std::vector<Value> values;
};

/// Recursive descent over one statement.
class Parser {
public:
    Parser(std::string_view text, std::string where) : rest_{text}, where_{std::move(where)} { advance(); }

    std::vector<std::string> calls;
    std::vector<Condition> conditions;
    std::optional<int> fails_with;

    void run() {
        do calls.push_back(name("a system call"));
        while (accept(","));
        if (accept(":")) {
            do clause();
            while (accept("and"));
        }
        if (!token_.empty()) fail("unexpected '" + token_ + "'");
    }

private:
    [[noreturn]] void fail(const std::string& why) const { throw PolicyError(where_ + ": " + why); }

    void advance() {
        const auto first = rest_.find_first_not_of(" \t");
        rest_ = first == std::string_view::npos ? std::string_view{} : rest_.substr(first);
        const auto is_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
        std::size_t size = 0;
        while (size < rest_.size() && is_word(rest_[size])) ++size;
        if (size == 0 && !rest_.empty()) size = rest_.starts_with("==") ? 2 : 1;
        token_ = rest_.substr(0, size);
        rest_.remove_prefix(size);
    }
    bool accept(std::string_view wanted) {
        if (token_ != wanted) return false;
        advance();
        return true;
    }
    void expect(std::string_view wanted) {
        if (!accept(wanted)) fail("expected '" + std::string{wanted} + "' instead of '" + token_ + "'");
    }
    std::string name(const char* what) {
        if (token_.empty() || !(std::isalnum(static_cast<unsigned char>(token_[0])) || token_[0] == '_')) {
            fail(std::string{"expected "} + what + " instead of '" + token_ + "'");
        }
        std::string taken = token_;
        advance();
        return taken;
    }
    Value term() {
        const std::string text = name("a value");
        if (const auto known = symbol(text)) return {*known, text};
        std::size_t used = 0;
        try {
            const std::uint64_t number = std::stoull(text, &used, 0);
            if (used == text.size()) return {number, text};
        } catch (const std::exception&) {
        }  // not a number: said below
        fail("unknown constant '" + text + "' (symbols.cpp has those that are known)");
    }
    Value value() {
        Value sum = term();
        while (accept("|")) {
            const Value more = term();
            sum.number |= more.number;
            sum.text += "|" + more.text;
        }
        return sum;
    }
    void clause() {
        if (accept("errno")) {
            fails_with = static_cast<int>(value().number);
            return;
        }
        const std::string argument = name("arg0 to arg5 or errno");
        if (argument.size() != 4 || !argument.starts_with("arg") || argument[3] < '0' || argument[3] > '5') {
            fail("expected arg0 to arg5 or errno instead of '" + argument + "'");
        }
        Condition condition{.argument = static_cast<unsigned>(argument[3] - '0')};
        if (accept("in")) {
            expect("{");
            while (token_ != "}") {
                condition.values.push_back(value());
                if (!accept(",")) break;
            }
            expect("}");
            if (condition.values.empty()) fail("empty set");
        } else {
            if (accept("&")) condition.mask = value();
            expect("==");
            condition.values.push_back(value());
        }
        conditions.push_back(std::move(condition));
    }

    std::string_view rest_;
    std::string token_;
    std::string where_;
};

/// Why this needs a justification; empty if it does not.
std::string danger(const Allowance& allowance) {
    if (allowance.fails_with) return {};
    if (std::ranges::find(kDangerous, allowance.call) != kDangerous.end()) return "is dangerous";
    const auto compared = [&](unsigned argument) {
        return std::ranges::find(allowance.conditions, argument, &Compare::argument);
    };
    if (allowance.call == "ioctl" && compared(1) == allowance.conditions.end()) {
        return "without a set of requests (arg1) is dangerous";
    }
    if (allowance.call == "mmap" || allowance.call == "mprotect") {
        const auto prot = compared(2);
        if (prot == allowance.conditions.end() || (prot->mask & PROT_EXEC) == 0 ||
            (prot->value & PROT_EXEC) != 0) {
            return "that can make memory executable is dangerous";
        }
    }
    return {};
}

/// One allowance a call and combination of values.
std::vector<Allowance> expand(const Parser& parsed, const Allowance& common) {
    std::vector<Allowance> out;
    for (const std::string& call : parsed.calls) {
        std::vector<Allowance> some{common};
        some[0].call = some[0].text = call;
        for (const Condition& condition : parsed.conditions) {
            std::vector<Allowance> more;
            for (const Allowance& base : some) {
                for (const Value& value : condition.values) {
                    Allowance next = base;
                    next.conditions.push_back(
                        {condition.argument, condition.mask ? condition.mask->number : ~0ULL, value.number});
                    next.text += " arg" + std::to_string(condition.argument) +
                                 (condition.mask ? "&" + condition.mask->text : "") + "=" + value.text;
                    more.push_back(std::move(next));
                }
            }
            some = std::move(more);
        }
        out.insert(out.end(), some.begin(), some.end());
    }
    return out;
}

std::vector<Allowance> parse_rule(Statement statement, const std::string& where) {
    Allowance common;
    common.where = where;
    common.reason = statement.comment;
    common.justify = take_marker(statement.text, "justify:");
    common.rare = take_marker(statement.text, "rare:");
    common.hot = take_marker(statement.text, "hot:");
    Parser parser{statement.text, where};
    parser.run();
    common.fails_with = parser.fails_with;
    auto out = expand(parser, common);
    for (const Allowance& allowance : out) {
        const std::string why = danger(allowance);
        if (!why.empty() && allowance.justify.empty()) {
            throw PolicyError(where + ": " + allowance.call + " " + why + ": say why with `justify:`");
        }
    }
    return out;
}

}  // namespace

bool Allowance::matches(std::span<const std::uint64_t> arguments) const {
    return std::ranges::all_of(conditions, [&](const Compare& compare) {
        return (arguments[compare.argument] & compare.mask) == compare.value;
    });
}

std::vector<Allowance> parse_policy(const std::string& text, const std::string& name,
                                    const std::string& directory) {
    std::vector<Allowance> out;
    for (const Statement& statement : statements(text)) {
        const std::string where = name + ":" + std::to_string(statement.line);
        const auto more = statement.text.starts_with("include ")
                              ? read_policy(directory + "/" + trim(statement.text.substr(8)))
                              : parse_rule(statement, where);
        for (const Allowance& allowance : more) {
            const auto twin = std::ranges::find_if(out, [&](const Allowance& other) {
                return other.call == allowance.call && other.conditions == allowance.conditions;
            });
            if (twin != out.end()) {
                throw PolicyError(allowance.where + ": " + allowance.text + " is already at " + twin->where);
            }
            out.push_back(allowance);
        }
    }
    return out;
}

std::vector<Allowance> read_policy(const std::string& path) {
    std::ifstream file{path};
    std::stringstream text;
    text << file.rdbuf();
    if (!file) throw PolicyError(path + ": cannot be read");
    const std::filesystem::path where{path};
    return parse_policy(text.str(), where.filename(), where.parent_path());
}

}  // namespace holdfast::sandbox::compiler
