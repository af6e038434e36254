// SPDX-License-Identifier: Apache-2.0
#include "libvirt/option.hpp"

#include <algorithm>
#include <array>

#include "libvirt/json.hpp"

namespace holdfast::libvirt {
namespace {

constexpr std::array<std::string_view, 9> kWithoutValue{"S",         "daemonize",      "no-shutdown",
                                                        "no-reboot", "no-user-config", "nodefaults",
                                                        "nographic", "no-fd-bootchk",  "no-hpet"};
constexpr std::array<std::string_view, 32> kWithValue{
    "name",   "object",          "machine", "accel",  "m",        "overcommit", "smp",
    "uuid",   "display",         "chardev", "mon",    "qmp",      "rtc",        "boot",
    "kernel", "initrd",          "append",  "device", "blockdev", "netdev",     "audiodev",
    "global", "watchdog-action", "action",  "msg",    "cpu",      "pidfile",    "tpmdev",
    "add-fd", "sandbox",         "bios",    "vga"};

bool is_in(std::span<const std::string_view> names, std::string_view name) {
    return std::ranges::find(names, name) != names.end();
}

}  // namespace

Verdict<std::vector<Option>> read_options(std::span<const char* const> words) {
    if (words.size() > kMaxOptions) return Refusal{"the command line has too many options", "ask for less"};
    std::vector<Option> options;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string_view word{words[i]};
        if (!word.starts_with('-') || word.size() < 2) {
            return Refusal{"'" + printable(word) + "' is not an option", "disks are given by -blockdev"};
        }
        const std::string_view name = word.substr(word.starts_with("--") ? 2 : 1);
        if (is_in(kWithoutValue, name)) {
            options.push_back({.name = std::string{name}, .value = {}});
            continue;
        }
        if (!is_in(kWithValue, name)) {
            return Refusal{"option -" + printable(name) + " is not known to Holdfast",
                           "remove from the domain what needs it; docs/libvirt.md lists what there is"};
        }
        if (i + 1 == words.size())
            return Refusal{"option -" + printable(name) + " has no value", "give it one"};
        const std::string_view value{words[++i]};
        if (value.size() > kMaxValue)
            return Refusal{"the value of -" + printable(name) + " is too long", "shorten it"};
        options.push_back({.name = std::string{name}, .value = std::string{value}});
    }
    return options;
}

namespace {

struct Pair {
    std::string name;
    std::string value;
};

// a,b=c,d=e,,f  is  FIRST=a  b=c  d="e,f"; a later word without "=" is a switch that is on.
std::vector<Pair> split(std::string_view text, std::string_view first) {
    std::vector<Pair> pairs;
    while (!text.empty() && pairs.size() <= kMaxFields) {
        std::string part;
        std::size_t at = 0;
        for (; at < text.size(); ++at) {
            if (text[at] == ',' && (at + 1 == text.size() || text[at + 1] != ',')) break;
            if (text[at] == ',') ++at;
            part += text[at];
        }
        text.remove_prefix(std::min(at + 1, text.size()));
        const std::size_t equals = part.find('=');
        if (equals != std::string::npos) pairs.push_back({part.substr(0, equals), part.substr(equals + 1)});
        else if (pairs.empty() && !first.empty()) pairs.push_back({std::string{first}, part});
        else pairs.push_back({part, "on"});
    }
    return pairs;
}

// Depth is bounded by the scanner of JSON texts below.
bool flatten(const nlohmann::json& value, const std::string& name, std::vector<Pair>& pairs) {
    if (pairs.size() > kMaxFields) return false;
    if (const auto* const members = value.get_ptr<const nlohmann::json::object_t*>()) {
        return std::ranges::all_of(*members, [&](const auto& member) {
            return flatten(member.second, name.empty() ? member.first : name + '.' + member.first, pairs);
        });
    }
    if (const auto* const text = value.get_ptr<const std::string*>()) pairs.push_back({name, *text});
    else if (value.is_boolean()) pairs.push_back({name, value == true ? "on" : "off"});
    else if (value.is_number()) pairs.push_back({name, value.dump()});
    else return false;
    return !name.empty();
}

}  // namespace

Verdict<Fields> Fields::read(const std::string& value, std::string_view first) {
    std::vector<Pair> pairs;
    if (value.starts_with('{')) {
        const auto object = parse_object(value);
        if (!object || !flatten(*object, "", pairs)) {
            return Refusal{"'" + printable(value) + "' is not a JSON object of plain values", "correct it"};
        }
    } else {
        pairs = split(value, first);
    }
    if (pairs.size() > kMaxFields)
        return Refusal{"'" + printable(value) + "' has too many fields", "shorten it"};
    Fields fields;
    for (Pair& pair : pairs)
        fields.fields_.push_back({.name = std::move(pair.name), .value = std::move(pair.value)});
    return fields;
}

bool Fields::has(std::string_view name) const {
    return std::ranges::find(fields_, name, &Field::name) != fields_.end();
}

std::string Fields::take(std::string_view name) {
    std::string value;
    for (Field& field : fields_) {
        if (field.name != name) continue;
        field.used = true;
        value = field.value;
    }
    return value;
}

void Fields::ignore(std::initializer_list<std::string_view> names) {
    for (Field& field : fields_)
        field.used = field.used || std::ranges::find(names, field.name) != names.end();
}

Verdict<void> Fields::unused(std::string_view owner) const {
    const auto field = std::ranges::find(fields_, false, &Field::used);
    if (field == fields_.end()) return {};
    return Refusal{
        std::string{owner} + ": there is no '" + printable(field->name) + "=" + printable(field->value) + "'",
        "remove from the domain what sets it; docs/libvirt.md lists what there is"};
}

}  // namespace holdfast::libvirt
