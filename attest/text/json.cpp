// SPDX-License-Identifier: Apache-2.0
#include "attest/text/json.hpp"

#include <algorithm>
#include <charconv>

namespace holdfast::attest {
namespace {

using detail::JsonKind;
using detail::JsonNode;

// Collateral and evidence of today are below 16 KiB and 4,000 values (a report as an array of its bytes).
constexpr std::size_t kMaxText = std::size_t{1} << 20;
constexpr std::size_t kMaxValues = 32768;
constexpr unsigned kMaxDepth = 16;
// Members are compared with each other for doubles: bounds the square of them.
constexpr unsigned kMaxMembers = 256;

class Parser {
public:
    Parser(std::string_view text, std::vector<JsonNode>& nodes) : text_{text}, nodes_{nodes} {}

    Result<void> document() {
        HF_TRY(value(0));
        skip_space();
        if (at_ != text_.size()) return input_error("JSON followed by something else");
        return {};
    }

private:
    /// The index of the value that was read.
    Result<std::uint32_t> value(unsigned depth) {
        if (depth > kMaxDepth) return input_error("JSON nested too deeply");
        if (nodes_.size() == kMaxValues) return input_error("JSON with too many values");
        skip_space();
        const auto index = static_cast<std::uint32_t>(nodes_.size());
        nodes_.emplace_back();
        nodes_[index].begin = at_;
        switch (peek()) {
            case '{': HF_TRY(object(index, depth)); break;
            case '[': HF_TRY(array(index, depth)); break;
            case '"':
                nodes_[index].kind = JsonKind::String;
                HF_TRY(skip_string());
                break;
            case 't': HF_TRY(word("true")); break;
            case 'f': HF_TRY(word("false")); break;
            case 'n': HF_TRY(word("null")); break;
            default:
                nodes_[index].kind = JsonKind::Number;
                HF_TRY(skip_number());
                break;
        }
        nodes_[index].end = at_;
        return index;
    }

    Result<void> object(std::uint32_t index, unsigned depth) {
        nodes_[index].kind = JsonKind::Object;
        ++at_;
        if (skip_space(), take('}')) return {};
        std::uint32_t last = 0;
        for (unsigned members = 0;; ++members) {
            if (members == kMaxMembers) return input_error("JSON object with too many members");
            skip_space();
            const std::uint32_t name_begin = at_ + 1;
            HF_TRY(skip_string());
            const std::uint32_t name_end = at_ - 1;
            HF_TRY(judge_name(index, name_begin, name_end));
            if (skip_space(), !take(':')) return input_error("JSON member without a value");
            const std::uint32_t member = HF_TRY(value(depth + 1));
            nodes_[member].name_begin = name_begin;
            nodes_[member].name_end = name_end;
            link(index, last, member);
            if (skip_space(), take('}')) return {};
            if (!take(',')) return input_error("JSON object that does not end");
        }
    }

    Result<void> array(std::uint32_t index, unsigned depth) {
        nodes_[index].kind = JsonKind::Array;
        ++at_;
        if (skip_space(), take(']')) return {};
        std::uint32_t last = 0;
        while (true) {  // bounded by kMaxValues
            const std::uint32_t element = HF_TRY(value(depth + 1));
            link(index, last, element);
            if (skip_space(), take(']')) return {};
            if (!take(',')) return input_error("JSON array that does not end");
        }
    }

    /// Two spellings of one name must not pass for two names, so none may have an escape; no format here
    /// needs one.
    Result<void> judge_name(std::uint32_t object, std::uint32_t begin, std::uint32_t end) const {
        const std::string_view name = text_.substr(begin, end - begin);
        if (name.contains('\\')) return input_error("JSON name with an escape");
        for (std::uint32_t i = nodes_[object].first; i != 0; i = nodes_[i].next) {
            if (text_.substr(nodes_[i].name_begin, nodes_[i].name_end - nodes_[i].name_begin) == name) {
                return input_error("JSON object with a name twice");
            }
        }
        return {};
    }

    void link(std::uint32_t parent, std::uint32_t& last, std::uint32_t child) {
        if (last == 0) nodes_[parent].first = child;
        else nodes_[last].next = child;
        last = child;
    }

    [[nodiscard]] char peek() const noexcept { return at_ < text_.size() ? text_[at_] : '\0'; }
    bool take(char c) noexcept {
        if (at_ == text_.size() || text_[at_] != c) return false;
        ++at_;
        return true;
    }
    void skip_space() noexcept {
        const auto is_space = [](char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; };
        while (at_ < text_.size() && is_space(text_[at_])) ++at_;
    }
    void skip_digits() noexcept {
        while (peek() >= '0' && peek() <= '9') ++at_;
    }

    Result<void> word(std::string_view word) {
        if (text_.substr(at_, word.size()) != word) return input_error("JSON with an unknown word");
        at_ += static_cast<std::uint32_t>(word.size());
        return {};
    }

    Result<void> skip_number() {
        const auto digits = [this]() -> Result<void> {
            const auto begin = at_;
            skip_digits();
            if (at_ == begin) return input_error("JSON value that is none");
            return {};
        };
        take('-');
        const bool zero = peek() == '0';
        const auto begin = at_;
        HF_TRY(digits());
        if (zero && at_ != begin + 1) return input_error("JSON number with a leading zero");
        if (take('.')) HF_TRY(digits());
        if (take('e') || take('E')) {
            if (!take('+')) take('-');
            HF_TRY(digits());
        }
        return {};
    }

    Result<void> skip_string() {
        if (!take('"')) return input_error("JSON without a string where one must be");
        while (at_ < text_.size()) {
            const char c = text_[at_++];
            if (c == '"') return {};
            if (static_cast<unsigned char>(c) < 0x20)
                return input_error("JSON string with a control character");
            if (c == '\\' && at_++ == text_.size())
                break;  // what follows is judged when the string is asked for
        }
        return input_error("JSON string that does not end");
    }

    std::string_view text_;
    std::vector<JsonNode>& nodes_;
    std::uint32_t at_ = 0;
};

/// The character of a one-letter escape; 0: it is none.
char escaped(char c) noexcept {
    switch (c) {
        case '"': return '"';
        case '\\': return '\\';
        case '/': return '/';
        case 'b': return '\b';
        case 'f': return '\f';
        case 'n': return '\n';
        case 'r': return '\r';
        case 't': return '\t';
        default: return '\0';
    }
}

}  // namespace

Result<JsonDocument> JsonDocument::parse(std::string_view text) {
    if (text.size() > kMaxText) return input_error("JSON of more than 1 MiB");
    JsonDocument document;
    document.text_ = text;
    // Collateral has a value for each eleven bytes.
    document.nodes_.reserve(std::min(text.size() / 8, kMaxValues));
    HF_TRY(Parser{text, document.nodes_}.document());
    return document;
}

std::string_view JsonValue::raw() const noexcept {
    return text_.substr(node().begin, node().end - node().begin);
}

std::optional<JsonValue> JsonValue::find(std::string_view name) const noexcept {
    if (node().kind != JsonKind::Object) return std::nullopt;
    for (std::uint32_t i = node().first; i != 0; i = nodes_[i].next) {
        if (text_.substr(nodes_[i].name_begin, nodes_[i].name_end - nodes_[i].name_begin) == name) {
            return JsonValue{text_, nodes_, i};
        }
    }
    return std::nullopt;
}

Result<JsonValue> JsonValue::at(std::string_view name) const {
    const auto found = find(name);
    if (!found) return input_error("JSON without a member that must be there");
    return *found;
}

Result<std::vector<std::string_view>> JsonValue::names() const {
    if (node().kind != JsonKind::Object) return input_error("JSON value that is not an object");
    std::vector<std::string_view> all;
    for (std::uint32_t i = node().first; i != 0; i = nodes_[i].next) {
        all.push_back(text_.substr(nodes_[i].name_begin, nodes_[i].name_end - nodes_[i].name_begin));
    }
    return all;
}

Result<std::vector<JsonValue>> JsonValue::elements() const {
    if (node().kind != JsonKind::Array) return input_error("JSON value that is not an array");
    std::size_t count = 0;
    for (std::uint32_t i = node().first; i != 0; i = nodes_[i].next) ++count;
    std::vector<JsonValue> all;
    all.reserve(count);
    for (std::uint32_t i = node().first; i != 0; i = nodes_[i].next)
        all.push_back(JsonValue{text_, nodes_, i});
    return all;
}

Result<std::string> JsonValue::string() const {
    if (node().kind != JsonKind::String) return input_error("JSON value that is not a string");
    const std::string_view inner = raw().substr(1, raw().size() - 2);
    std::string out;
    out.reserve(inner.size());
    for (std::size_t i = 0; i < inner.size(); ++i) {
        if (inner[i] != '\\') {
            out.push_back(inner[i]);
            continue;
        }
        // \u is for characters that nothing here is made of: PEM, hexadecimal and JSON within JSON.
        const char c = escaped(inner[++i]);
        if (c == '\0') return input_error("JSON string with an escape that is not read");
        out.push_back(c);
    }
    return out;
}

Result<std::uint64_t> JsonValue::number() const {
    if (node().kind != JsonKind::Number) return input_error("JSON value that is not a number");
    std::uint64_t value = 0;
    const std::string_view digits = raw();
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc{} || end != digits.data() + digits.size()) {
        return input_error("JSON number that is not a whole number of 64 bits");
    }
    return value;
}

Result<std::string> string_at(JsonValue object, std::string_view name) {
    const auto member = HF_TRY(object.at(name));
    return member.string();
}

}  // namespace holdfast::attest
