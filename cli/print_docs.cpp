// SPDX-License-Identifier: Apache-2.0
// Prints what is made from the tree of verbs and flags at build time: man pages (man(7)), completions
// for bash, zsh and fish, and docs/errors.md. Not installed.
#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cli/error.hpp"
#include "cli/tree.hpp"

namespace holdfast::cli {
namespace {

struct Flag {
    std::string name;   ///< "--kernel", or a positional's name
    std::string value;  ///< "FILE"; empty: a switch
    std::string help;
    std::string choices;  ///< words, separated by blanks
    bool positional = false;
    bool required = false;

    [[nodiscard]] bool is_file() const {
        return value.starts_with("FILE") || value.ends_with(".toml") || value == "DIR";
    }
    [[nodiscard]] bool is_vm() const { return positional && required; }
};

std::vector<Flag> flags_of(const CLI::App& app) {
    std::vector<Flag> flags;
    for (const CLI::Option* const option : app.get_options()) {
        Flag flag{.name = option->get_name(),
                  .value = option->get_expected_max() == 0 ? "" : option->get_type_name(),
                  .help = option->get_description(),
                  .choices = {},
                  .positional = option->get_positional(),
                  .required = option->get_required()};
        if (!option->get_lnames().empty()) flag.name = "--" + option->get_lnames().front();
        for (const Setting& setting : setting_table()) {
            if (!flag.value.empty() && flag.name == "--" + std::string{setting.name})
                flag.choices = setting.choices;
        }
        flags.push_back(std::move(flag));
    }
    return flags;
}

std::vector<const CLI::App*> verbs_of(const CLI::App& app) {
    const auto all = app.get_subcommands([](const CLI::App*) { return true; });
    return {all.begin(), all.end()};
}

/// A verb's flags and those of the verbs below it, each once, without what only the latter must have.
std::vector<Flag> all_flags_of(const CLI::App& verb) {
    auto flags = flags_of(verb);
    for (const CLI::App* const inner : verbs_of(verb)) {
        for (Flag& flag : flags_of(*inner)) {
            const bool known = std::ranges::find(flags, flag.name, &Flag::name) != flags.end();
            if (!known && !flag.positional) flags.push_back(std::move(flag));
        }
    }
    return flags;
}

/// "create list ": the verbs below a verb, to be completed before its flags.
std::string inner_words_of(const CLI::App& verb) {
    std::string words;
    for (const CLI::App* const inner : verbs_of(verb)) words += inner->get_name() + " ";
    return words;
}

std::string words_of(const std::vector<Flag>& flags) {
    std::string words;
    for (const Flag& flag : flags) {
        if (!flag.positional) words += (words.empty() ? "" : " ") + flag.name;
    }
    return words;
}

// A backslash, a dash and a dot at the start of a line mean something to troff.
std::string troff(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '\\') out += "\\e";
        else if (c == '-') out += "\\-";
        else if (c == '.' && (out.empty() || out.back() == '\n')) out += "\\&.";
        else out += c;
    }
    return out;
}

void man_flags(const std::vector<Flag>& flags) {
    for (const Flag& flag : flags) {
        const std::string name = flag.positional ? fmt::format("\\fI{}\\fR", troff(flag.value))
                                                 : fmt::format("\\fB{}\\fR", troff(flag.name));
        const std::string value =
            flag.positional || flag.value.empty() ? "" : fmt::format(" \\fI{}\\fR", troff(flag.value));
        fmt::print(".TP\n{}{}\n{}.\n", name, value, troff(flag.help));
    }
}

void man_examples(std::string_view verb) {
    const auto examples = examples_of(verb);
    if (!examples.empty()) fmt::print(".SH EXAMPLES\n.nf\n{}.fi\n", troff(examples));
}

// Design §7. The one verb whose exit status says more than yes and no.
void man_status(std::string_view verb) {
    fmt::print(".SH EXIT STATUS\n");
    if (verb == "run") {
        fmt::print("0 the guest powered off; 1 our failure; 2 wrong usage; 10 the guest rebooted "
                   "(\\-\\-on\\-reboot exit); "
                   "11 the guest panicked; 12 guest memory was tampered with; 13 the VM was killed.\n");
    } else if (verb == "verify") {
        fmt::print("0 accepted; 1 refused; 2 unreadable, or wrong usage.\n");
    } else {
        fmt::print("0 done; 1 failure; 2 wrong usage.\n");
    }
}

void print_man(const CLI::App& app, std::string_view wanted) {
    const auto verbs = verbs_of(app);
    const auto it = std::ranges::find(verbs, wanted, &CLI::App::get_name);
    const bool whole = it == verbs.end();
    const CLI::App& page = whole ? app : **it;
    const std::string title = whole ? "holdfast" : fmt::format("holdfast-{}", wanted);
    fmt::print(".TH \"{}\" 1 \"\" \"Holdfast {}\" \"Holdfast\"\n", troff(title), HF_VERSION);
    fmt::print(".SH NAME\n{} \\- {}\n", troff(title), troff(page.get_description()));
    fmt::print(".SH SYNOPSIS\n.B holdfast{}\n",
               whole ? "\n.I VERB\n[...]" : fmt::format(" {}\n[...]", wanted));
    if (whole) {
        fmt::print(".SH VERBS\n");
        for (const CLI::App* const verb : verbs) {
            fmt::print(".TP\n.BR holdfast\\-{} (1)\n{}.\n", verb->get_name(), troff(verb->get_description()));
        }
    }
    if (!whole) {
        for (const CLI::App* const verb : verbs_of(page)) {
            fmt::print(".SH {} {}\n{}.\n", troff(wanted), troff(verb->get_name()),
                       troff(verb->get_description()));
            man_flags(flags_of(*verb));
        }
    }
    fmt::print(".SH OPTIONS\n");
    man_flags(flags_of(page));
    if (!whole) man_examples(wanted);
    man_status(wanted);
    fmt::print(".SH DIAGNOSTICS\nA failure is three lines: what failed with a stable code (HF\\-nnnn), why, "
               "and what to do.\n");
    fmt::print(".SH SEE ALSO\n{}\n",
               whole ? ".BR holdfast\\-run (1),\n.BR holdfast\\-doctor (1)" : ".BR holdfast (1)");
}

constexpr std::string_view kVmNames = "holdfast list 2>/dev/null | awk 'NR > 1 { print $1 }'";

void print_bash(const CLI::App& app) {
    std::string verbs;
    std::string cases;
    std::string files;
    std::string values;
    std::string named;
    for (const CLI::App* const verb : verbs_of(app)) {
        verbs += (verbs.empty() ? "" : " ") + verb->get_name();
        const auto flags = all_flags_of(*verb);
        cases += fmt::format("        {}) words=\"{}{} --state-dir\" ;;\n", verb->get_name(),
                             inner_words_of(*verb), words_of(flags));
        for (const Flag& flag : flags) {
            if (flag.is_vm()) named += (named.empty() ? "" : "|") + verb->get_name();
            if (flag.is_file()) files += fmt::format("\"{} {}\"|", verb->get_name(), flag.name);
            if (!flag.choices.empty()) {
                values += fmt::format(
                    "        \"{} {}\") COMPREPLY=($(compgen -W \"{}\" -- \"$cur\")); return ;;\n",
                    verb->get_name(), flag.name, flag.choices);
            }
        }
    }
    fmt::print(
        R"(# bash completion for holdfast, made from its own tree of flags
_holdfast() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} verb= word words
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $word in {}) verb=$word; break ;; esac
    done
    case "$verb $prev" in
        {}*" --state-dir") COMPREPLY=($(compgen -f -- "$cur")); return ;;
{}    esac
    case $verb in
{}        *) words="{} --state-dir --help --version" ;;
    esac
    case $verb in {}) [[ $cur == -* ]] || words=$({}) ;; esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o filenames -F _holdfast holdfast
)",
        [&] {
            std::string alternatives = verbs;
            std::ranges::replace(alternatives, ' ', '|');
            return alternatives;
        }(),
        files, values, cases, verbs, named, kVmNames);
}

std::string without(std::string text, std::string_view unwanted) {
    std::erase_if(text, [&](char c) { return unwanted.find(c) != std::string_view::npos; });
    return text;
}

void print_zsh(const CLI::App& app) {
    fmt::print(
        "#compdef holdfast\n# made from holdfast's own tree of flags\n_holdfast_vms() {{ compadd $({}) }}\n",
        kVmNames);
    fmt::print("_holdfast() {{\n    local line state\n    _arguments -C '--state-dir[state "
               "directory]:DIR:_files -/' '--version' "
               "'--help' '1:verb:->verb' '*::argument:->rest'\n    case $state in\n    verb) local -a verbs; "
               "verbs=(");
    for (const CLI::App* const verb : verbs_of(app)) {
        fmt::print(" '{}:{}'", verb->get_name(), without(verb->get_description(), "':"));
    }
    fmt::print("); _describe verb verbs ;;\n    rest) case $line[1] in\n");
    for (const CLI::App* const verb : verbs_of(app)) {
        fmt::print("        {}) _arguments", verb->get_name());
        if (const auto inner = inner_words_of(*verb); !inner.empty()) fmt::print(" '1:verb:({})'", inner);
        for (const Flag& flag : all_flags_of(*verb)) {
            const std::string help = without(flag.help, "':[]");
            const std::string action = flag.is_vm()            ? "_holdfast_vms"
                                       : flag.is_file()        ? "_files"
                                       : !flag.choices.empty() ? "(" + flag.choices + ")"
                                                               : " ";
            if (flag.positional) fmt::print(" '1:{}:{}'", without(flag.value, "':[]"), action);
            else if (flag.value.empty()) fmt::print(" '{}[{}]'", flag.name, help);
            else fmt::print(" '*{}=[{}]:{}:{}'", flag.name, help, without(flag.value, "':[]"), action);
        }
        fmt::print(" ;;\n");
    }
    fmt::print("        esac ;;\n    esac\n}}\n_holdfast \"$@\"\n");
}

void print_fish(const CLI::App& app) {
    fmt::print("# fish completion for holdfast, made from its own tree of flags\ncomplete -c holdfast -f\n");
    fmt::print("complete -c holdfast -l state-dir -r -F -d 'state directory'\n");
    for (const CLI::App* const verb : verbs_of(app)) {
        const std::string& name = verb->get_name();
        fmt::print("complete -c holdfast -n __fish_use_subcommand -a {} -d '{}'\n", name,
                   without(verb->get_description(), "'"));
        if (const auto inner = inner_words_of(*verb); !inner.empty()) {
            fmt::print("complete -c holdfast -n '__fish_seen_subcommand_from {}' -a '{}'\n", name, inner);
        }
        for (const Flag& flag : all_flags_of(*verb)) {
            const std::string when =
                fmt::format("complete -c holdfast -n '__fish_seen_subcommand_from {}'", name);
            if (flag.is_vm())
                fmt::print("{} -a \"({})\"\n", when,
                           "holdfast list 2>/dev/null | awk \\'NR > 1 {print \\$1}\\'");
            if (flag.positional) continue;
            const std::string how = flag.value.empty()      ? ""
                                    : flag.is_file()        ? " -r -F"
                                    : !flag.choices.empty() ? fmt::format(" -r -a '{}'", flag.choices)
                                                            : " -r";
            fmt::print("{} -l {}{} -d '{}'\n", when, flag.name.substr(2), how, without(flag.help, "'"));
        }
    }
}

void print_errors() {
    fmt::print("# Error codes\n\nEach failure of `holdfast` is three lines: what failed with its code, why, "
               "and what to do. The codes are\n"
               "stable. This page is printed from the table in `cli/error.cpp`; a test compares the two.\n\n"
               "| Code | What | Meaning |\n|---|---|---|\n");
    for (const CodeRow& row : code_table()) {
        fmt::print("| HF-{:04} | {} | {} |\n", static_cast<unsigned>(row.code), row.title, row.meaning);
    }
}

int print_docs(int argc, char** argv) {
    const std::string_view what = argc > 1 ? argv[1] : "";
    Invocation unused;
    CLI::App app;
    app.name("holdfast");
    declare(app, unused);
    if (what == "man") print_man(app, argc > 2 ? argv[2] : "");
    else if (what == "bash") print_bash(app);
    else if (what == "zsh") print_zsh(app);
    else if (what == "fish") print_fish(app);
    else if (what == "errors") print_errors();
    else {
        std::cerr << "usage: print-docs man [VERB] | bash | zsh | fish | errors\n";
        return kExitUsage;
    }
    return 0;
}

}  // namespace
}  // namespace holdfast::cli

int main(int argc, char** argv) {
    try {
        return holdfast::cli::print_docs(argc, argv);
    } catch (const std::exception& error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
}
