// SPDX-License-Identifier: Apache-2.0
#include "libvirt/json.hpp"

#include <algorithm>

namespace holdfast::libvirt {
namespace {

constexpr int kMaxNesting = 64;

// The parser judges everything else.
bool is_shallow(std::string_view text) {
    int depth = 0;
    bool in_string = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (in_string && c == '\\') ++i;
        else if (c == '"') in_string = !in_string;
        else if (!in_string && (c == '{' || c == '[') && ++depth > kMaxNesting) return false;
        else if (!in_string && (c == '}' || c == ']')) --depth;
    }
    return true;
}

}  // namespace

std::optional<nlohmann::json> parse_object(std::string_view text) {
    if (!is_shallow(text)) return std::nullopt;
    auto value = nlohmann::json::parse(text, nullptr, false);
    if (!value.is_object()) return std::nullopt;
    return value;
}

std::string text_of(const nlohmann::json& object, std::string_view member) {
    if (!object.is_object()) return {};
    const auto found = object.find(member);
    if (found == object.end()) return {};
    const auto* const text = found->get_ptr<const std::string*>();
    return text == nullptr ? std::string{} : *text;
}

std::string one_line(const nlohmann::json& value) {
    return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string printable(std::string_view text) {
    constexpr std::size_t most = 200;
    std::string out{text.substr(0, most)};
    std::ranges::replace_if(
        out, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
    if (text.size() > most) out += "...";
    return out;
}

}  // namespace holdfast::libvirt
