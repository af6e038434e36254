// SPDX-License-Identifier: Apache-2.0
#include "libvirt/host_devices.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <optional>

namespace holdfast::libvirt {
namespace {

constexpr std::size_t kMaxNesting = 256;
constexpr std::string_view kSpace = " \t\r\n";

struct Attribute {
    std::string_view name;
    std::string_view value;  ///< as written: numbers and UUIDs need no entities
};

struct Tag {
    std::string_view name;
    std::vector<Attribute> attributes;
    bool closes = false;  ///< </name>
    bool empty = false;   ///< <name/>
};

/// Tags one by one; text between them, comments and the like are passed over.
class Scanner {
public:
    explicit Scanner(std::string_view xml) noexcept : rest_{xml} {}

    /// None at the end.
    Result<std::optional<Tag>> next() {
        while (true) {
            const std::size_t open = rest_.find('<');
            if (open == std::string_view::npos) return std::optional<Tag>{};
            rest_.remove_prefix(open + 1);
            if (const std::string_view end = end_of_other(); !end.empty()) HF_TRY(skip_past(end));
            else return std::optional<Tag>{HF_TRY(tag())};
        }
    }

private:
    // How what is here ends if it is not a tag. libvirt writes no document type.
    [[nodiscard]] std::string_view end_of_other() const noexcept {
        if (rest_.starts_with("!--")) return "-->";
        if (rest_.starts_with("![CDATA[")) return "]]>";
        return rest_.starts_with('?') ? "?>" : "";
    }

    Result<void> skip_past(std::string_view end) {
        const std::size_t at = rest_.find(end);
        if (at == std::string_view::npos) return input_error("the XML is cut off");
        rest_.remove_prefix(at + end.size());
        return {};
    }

    Result<Tag> tag() {
        Tag tag;
        tag.closes = take('/');
        tag.name = word();
        while (true) {
            skip_space();
            tag.empty = take('/');
            if (take('>')) break;
            if (tag.empty) return input_error("a tag of the XML has no end");
            tag.attributes.push_back(HF_TRY(attribute()));
        }
        if (tag.name.empty() || (tag.closes && tag.empty)) return input_error("a tag of the XML is none");
        return tag;
    }

    Result<Attribute> attribute() {
        const std::string_view name = word();
        skip_space();
        if (name.empty() || !take('=')) return input_error("an attribute in the XML is none");
        skip_space();
        const char quote = rest_.empty() ? '\0' : rest_.front();
        const std::size_t end = rest_.find(quote, 1);
        if ((quote != '\'' && quote != '"') || end == std::string_view::npos)
            return input_error("an attribute in the XML has no value");
        const std::string_view value = rest_.substr(1, end - 1);
        rest_.remove_prefix(end + 1);
        return Attribute{.name = name, .value = value};
    }

    std::string_view word() {
        const std::size_t end = std::min(rest_.find_first_of(" \t\r\n/>=<'\""), rest_.size());
        const std::string_view word = rest_.substr(0, end);
        rest_.remove_prefix(end);
        return word;
    }
    void skip_space() { rest_.remove_prefix(std::min(rest_.find_first_not_of(kSpace), rest_.size())); }
    bool take(char c) {
        const bool there = rest_.starts_with(c);
        if (there) rest_.remove_prefix(1);
        return there;
    }

    std::string_view rest_;
};

/// Empty if there is none.
std::string_view value_of(const Tag& tag, std::string_view name) {
    const auto found = std::ranges::find(tag.attributes, name, &Attribute::name);
    return found == tag.attributes.end() ? std::string_view{} : found->value;
}

/// "0x1f" or "31"; nothing said is 0, as for libvirt.
Result<unsigned> number(std::string_view text, unsigned most) {
    if (text.empty()) return 0U;
    const bool hex = text.starts_with("0x");
    if (hex) text.remove_prefix(2);
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, hex ? 16 : 10);
    if (error != std::errc{} || end != text.data() + text.size() || value > most)
        return input_error("a PCI address in the XML is none");
    return value;
}

Result<std::string> pci_address(const Tag& address) {
    const unsigned domain = HF_TRY(number(value_of(address, "domain"), 0xffff));
    const unsigned bus = HF_TRY(number(value_of(address, "bus"), 0xff));
    const unsigned slot = HF_TRY(number(value_of(address, "slot"), 0x1f));
    const unsigned function = HF_TRY(number(value_of(address, "function"), 7));
    std::array<char, sizeof "0000:00:00.0"> text;
    std::snprintf(text.data(), text.size(), "%04x:%02x:%02x.%x", domain, bus, slot, function);
    return std::string{text.data()};
}

/// <domain><devices><ANY><source> is open: what stands here names a thing of the host.
bool is_source(const std::vector<std::string_view>& open) {
    return open.size() == 4 && open[0] == "domain" && open[1] == "devices" && open[3] == "source";
}

// Of the addresses in a <source>, only PCI ones have a slot and only mediated ones a UUID: others are of USB
// and SCSI devices, which reach no memory by themselves.
Result<void> note(const Tag& tag, HostDevices& found) {
    if (tag.name != "address") return {};
    if (const std::string_view uuid = value_of(tag, "uuid"); !uuid.empty()) found.mediated.emplace_back(uuid);
    else if (!value_of(tag, "slot").empty()) found.pci.push_back(HF_TRY(pci_address(tag)));
    return {};
}

}  // namespace

Result<HostDevices> host_devices_in(std::string_view xml) {
    HostDevices found;
    Scanner scanner{xml};
    std::vector<std::string_view> open;
    while (const auto tag = HF_TRY(scanner.next())) {
        if (tag->closes) {
            if (open.empty() || open.back() != tag->name) return input_error("the XML's tags do not match");
            open.pop_back();
            continue;
        }
        if (is_source(open)) HF_TRY(note(*tag, found));
        if (tag->empty) continue;
        if (open.size() == kMaxNesting) return input_error("the XML is nested too deeply");
        open.push_back(tag->name);
    }
    if (!open.empty()) return input_error("the XML is cut off");
    return found;
}

}  // namespace holdfast::libvirt
