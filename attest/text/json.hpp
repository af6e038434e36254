// SPDX-License-Identifier: Apache-2.0
// JSON (RFC 8259) of somebody else, read strictly: a name twice in an object is refused, nothing follows the
// value, and size, depth and number of values are bounded. Each value knows its own text, because signed JSON
// is signed as it was written and not as a library would write it again.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sys/result.hpp"

namespace holdfast::attest {

namespace detail {
enum class JsonKind : std::uint8_t { Object, Array, String, Number, Word };
struct JsonNode {
    std::uint32_t begin = 0;  ///< of the value's own text
    std::uint32_t end = 0;
    std::uint32_t name_begin = 0;  ///< within an object: the name without its quotes
    std::uint32_t name_end = 0;
    std::uint32_t next = 0;  ///< the next value of the same object or array; 0: none
    std::uint32_t first = 0;
    JsonKind kind = JsonKind::Word;
};
}  // namespace detail

/// One value of a JsonDocument, which must outlive it. What is not of the kind that was asked for is an Input
/// error.
class JsonValue {
public:
    /// Exactly as it was written.
    [[nodiscard]] std::string_view raw() const noexcept;
    [[nodiscard]] bool is_object() const noexcept { return node().kind == detail::JsonKind::Object; }
    [[nodiscard]] bool is_string() const noexcept { return node().kind == detail::JsonKind::String; }
    /// A member of an object; none: there is no such member, or this is no object.
    [[nodiscard]] std::optional<JsonValue> find(std::string_view name) const noexcept;
    [[nodiscard]] Result<JsonValue> at(std::string_view name) const;
    /// Of all members of an object.
    [[nodiscard]] Result<std::vector<std::string_view>> names() const;
    [[nodiscard]] Result<std::vector<JsonValue>> elements() const;
    [[nodiscard]] Result<std::string> string() const;
    /// Digits only: neither sign, nor fraction, nor exponent.
    [[nodiscard]] Result<std::uint64_t> number() const;

private:
    friend class JsonDocument;
    JsonValue(std::string_view text, std::span<const detail::JsonNode> nodes, std::uint32_t index) noexcept
        : text_{text}, nodes_{nodes}, index_{index} {}
    [[nodiscard]] const detail::JsonNode& node() const noexcept { return nodes_[index_]; }
    std::string_view text_;
    std::span<const detail::JsonNode> nodes_;
    std::uint32_t index_;
};

/// The string that is a member of an object.
[[nodiscard]] Result<std::string> string_at(JsonValue object, std::string_view name);

class JsonDocument {
public:
    /// `text` outlives the document.
    static Result<JsonDocument> parse(std::string_view text);
    [[nodiscard]] JsonValue root() const noexcept { return {text_, nodes_, 0}; }

private:
    std::string_view text_;
    std::vector<detail::JsonNode> nodes_;
};

}  // namespace holdfast::attest
