// SPDX-License-Identifier: Apache-2.0
// VM.toml: TOML 1.0 with the names of `run`'s flags as keys at the top level, and nothing else.
#include "cli/shape.hpp"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>
#include <toml++/toml.h>

#include "cli/error.hpp"
#include "cli/files.hpp"
#include "cli/output.hpp"

namespace holdfast::cli {
namespace {

constexpr std::uint64_t kMaxConfig = 1 << 20;

[[noreturn]] void bad_config(const std::string& path, unsigned line, std::string why, std::string fix) {
    throw Failure{Code::Config, fmt::format("{}, line {}: this cannot be used", printable(path), line),
                  std::move(why), std::move(fix)};
}

std::string config_text(const std::string& path) {
    auto text = read_text(path, kMaxConfig);
    if (text) return std::move(*text);
    throw Failure{Code::Config, fmt::format("cannot read the configuration '{}'", printable(path)),
                  std::move(text.error()), "check the path and its permissions"};
}

std::string from_directory(const std::filesystem::path& directory, PathPart part, const std::string& value) {
    if (part == PathPart::None) return value;
    const std::size_t equals = value.find('=');
    if (part == PathPart::AfterEquals && equals == std::string::npos) return value;
    const std::size_t start = part == PathPart::Front ? 0 : equals + 1;
    if (start >= value.size() || value[start] == '/') return value;
    return value.substr(0, start) + (directory / value.substr(start)).string();
}

// The values of one key as text, or none if it has a type that the setting cannot have.
std::vector<std::string> values_of(const Setting& setting, const toml::node& node) {
    std::vector<std::string> values;
    switch (setting.kind) {
        case SettingKind::Flag:
            if (const auto flag = node.value_exact<bool>()) values.emplace_back(*flag ? "true" : "false");
            break;
        case SettingKind::Number:
            if (const auto number = node.value_exact<std::int64_t>())
                values.push_back(fmt::to_string(*number));
            [[fallthrough]];
        case SettingKind::Text:
            if (const auto text = node.value_exact<std::string>()) values.push_back(*text);
            break;
        case SettingKind::List:
            if (const toml::array* const array = node.as_array()) {
                for (const toml::node& item : *array) {
                    const auto text = item.value_exact<std::string>();
                    if (!text) return {};
                    values.push_back(*text);
                }
            }
            break;
    }
    return values;
}

constexpr std::string_view type_words(SettingKind kind) {
    switch (kind) {
        case SettingKind::Flag: return "true or false";
        case SettingKind::Number: return "a number or a text in quotes";
        case SettingKind::Text: return "a text in quotes";
        case SettingKind::List: return "a list of texts: [\"...\", \"...\"]";
    }
    return "";
}

}  // namespace

Settings read_config(const std::string& path) {
    toml::table table;
    try {
        table = toml::parse(config_text(path), path);
    } catch (const toml::parse_error& error) {
        bad_config(path, error.source().begin.line, std::string{error.description()},
                   "write it as TOML 1.0, one 'flag = value' a line");
    }
    const auto directory = std::filesystem::path{path}.parent_path();
    Settings settings;
    for (const auto& [key, node] : table) {
        const auto row = std::ranges::find(setting_table(), key.str(), &Setting::name);
        if (row == setting_table().end()) {
            bad_config(path, key.source().begin.line,
                       fmt::format("the key '{}' is not known", printable(key.str())),
                       "use the names of the flags of 'holdfast run' without the dashes");
        }
        const auto values = values_of(*row, node);
        const toml::array* const array = node.as_array();
        if (values.empty() && (array == nullptr || !array->empty())) {
            bad_config(path, node.source().begin.line,
                       fmt::format("the value of '{}' has the wrong type", row->name),
                       fmt::format("give {}", type_words(row->kind)));
        }
        settings[std::string{row->name}] = values;
    }
    start_paths_at(directory, settings);
    return settings;
}

void start_paths_at(const std::filesystem::path& directory, Settings& settings) {
    for (const Setting& setting : setting_table()) {
        const auto found = settings.find(setting.name);
        if (found == settings.end()) continue;
        for (std::string& value : found->second) value = from_directory(directory, setting.path, value);
    }
}

}  // namespace holdfast::cli
