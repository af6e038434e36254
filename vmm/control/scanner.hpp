// SPDX-License-Identifier: Apache-2.0
// Cuts the byte stream of a QMP client into JSON texts. They follow each other with or without white
// space and are split anywhere, as QEMU's JSON streamer takes them (qobject/json-lexer.c), including its
// strings in single quotes, which come out in double ones. What is inside a text is the parser's business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::control {

inline constexpr std::size_t kMaxText = 64 * 1024;
inline constexpr unsigned kMaxNesting = 64;

class Scanner {
public:
    enum class Kind : std::uint8_t {
        Text,       ///< one JSON text, still to be parsed; any type, maybe malformed
        Malformed,  ///< bytes that are in no JSON text; what follows starts afresh
        TooLong,    ///< more than kMaxText: the stream cannot be followed any further
        TooDeep,    ///< more than kMaxNesting: likewise
    };
    struct Item {
        Kind kind = Kind::Text;
        std::string_view text;  ///< valid until the next call
    };
    /// Takes from the front of `input` up to the end of the next item. None: all of it was taken, and
    /// the item, if one has begun, needs more.
    std::optional<Item> next(std::string_view& input);

private:
    enum class State : std::uint8_t { Between, Word, Structure, String, Escape, Recovery };

    std::optional<Item> step(char c, bool& consumed);
    std::optional<Item> outside_string(char c);
    std::optional<Item> in_string(char c);
    std::optional<Item> close(char c);
    Item finish(Kind kind, State next);

    State state_ = State::Between;
    std::string text_;
    bool finished_ = false;  // text_ belongs to the item given last
    char quote_ = '"';
    unsigned depth_ = 0;
    std::uint64_t brackets_ = 0;  // a bit a level, 1 for '[', the innermost lowest
};

}  // namespace holdfast::control
