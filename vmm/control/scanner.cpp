// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/scanner.hpp"

namespace holdfast::control {
namespace {

static_assert(kMaxNesting <= 64, "one bit a level");

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20; }
bool is_structural(char c) { return std::string_view{"{}[]:,"}.contains(c); }
bool is_quote(char c) { return c == '"' || c == '\''; }
/// Numbers, true, false, null, and what may be mistaken for them.
bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '-' || c == '.' || c == '_';
}

}  // namespace

std::optional<Scanner::Item> Scanner::next(std::string_view& input) {
    if (finished_) text_.clear();
    finished_ = false;
    while (!input.empty()) {
        bool consumed = true;
        auto item = step(input.front(), consumed);
        if (consumed) input.remove_prefix(1);
        if (item) return item;
        if (text_.size() > kMaxText) return finish(Kind::TooLong, State::Between);
    }
    return {};
}

std::optional<Scanner::Item> Scanner::step(char c, bool& consumed) {
    switch (state_) {
        case State::Recovery:
            if (!is_control(c) && !is_structural(c)) return {};
            state_ = State::Between;
            return outside_string(c);
        case State::Word:
            if (is_word(c)) {
                text_ += c;
                return {};
            }
            consumed = false;
            return finish(Kind::Text, State::Between);
        case State::Between:
        case State::Structure: return outside_string(c);
        case State::String:
        case State::Escape: return in_string(c);
    }
    return {};
}

std::optional<Scanner::Item> Scanner::outside_string(char c) {
    if (is_space(c)) {
        if (depth_ > 0) text_ += ' ';
        return {};
    }
    if (is_quote(c)) {
        quote_ = c;
        text_ += '"';
        state_ = State::String;
        return {};
    }
    if (is_word(c)) {
        text_ += c;
        if (depth_ == 0) state_ = State::Word;
        return {};
    }
    if (!is_structural(c)) return finish(Kind::Malformed, State::Recovery);
    text_ += c;
    if (c == '{' || c == '[') {
        if (depth_ == kMaxNesting) return finish(Kind::TooDeep, State::Between);
        ++depth_;
        brackets_ = brackets_ << 1 | (c == '[' ? 1U : 0U);
        state_ = State::Structure;
        return {};
    }
    if (depth_ == 0) return finish(Kind::Malformed, State::Between);
    return c == '}' || c == ']' ? close(c) : std::nullopt;
}

std::optional<Scanner::Item> Scanner::close(char c) {
    if ((brackets_ & 1) != (c == ']' ? 1U : 0U)) return finish(Kind::Malformed, State::Between);
    brackets_ >>= 1;
    if (--depth_ > 0) return {};
    return finish(Kind::Text, State::Between);
}

std::optional<Scanner::Item> Scanner::in_string(char c) {
    // A line's end ends a string that lacks its quote: a client that was cut off gets in step again.
    if (is_control(c)) return finish(Kind::Malformed, State::Between);
    if (state_ == State::Escape) {
        if (c == '\'') text_.pop_back();  // \' is QEMU's own
        text_ += c;
        state_ = State::String;
    } else if (c == '\\') {
        text_ += c;
        state_ = State::Escape;
    } else if (c == quote_) {
        text_ += '"';
        if (depth_ == 0) return finish(Kind::Text, State::Between);
        state_ = State::Structure;
    } else {
        if (c == '"') text_ += '\\';
        text_ += c;
    }
    return {};
}

Scanner::Item Scanner::finish(Kind kind, State next) {
    state_ = next;
    depth_ = 0;
    brackets_ = 0;
    finished_ = true;
    return {kind, text_};
}

}  // namespace holdfast::control
