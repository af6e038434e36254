// SPDX-License-Identifier: Apache-2.0
#include "tests/attest/vectors/case.hpp"

#include <charconv>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>

namespace holdfast::attest::vectors {
namespace {

std::size_t place_in(const Bytes& bytes, const Json& change) {
    const auto offset = change.at("offset").get<std::size_t>();
    if (offset > bytes.size()) throw BadCase{"a change lies behind the end of its file"};
    return offset;
}

void apply_xor(Bytes& bytes, const Json& change) {
    const std::size_t offset = place_in(bytes, change);
    const Bytes mask = from_hex(change.at("xor").get<std::string>());
    if (mask.size() > bytes.size() - offset) throw BadCase{"a patch goes beyond the end of its file"};
    for (std::size_t i = 0; i < mask.size(); ++i) bytes[offset + i] ^= mask[i];
}

}  // namespace

Bytes from_hex(const std::string& text) {
    if (text.size() % 2 != 0) throw BadCase{"hex with an odd number of digits"};
    Bytes bytes;
    for (std::size_t i = 0; i < text.size(); i += 2) {
        std::uint8_t byte = 0;
        const char* const first = text.data() + i;
        if (const auto [end, error] = std::from_chars(first, first + 2, byte, 16);
            error != std::errc{} || end != first + 2) {
            throw BadCase{"text that is not hex"};
        }
        bytes.push_back(std::byte{byte});
    }
    return bytes;
}

Bytes from_base64(const std::string& text) {
    constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    Bytes bytes;
    std::uint32_t bits = 0;
    unsigned have = 0;
    for (char c : text) {
        if (c == '=' || c == '\n' || c == '\r') continue;
        if (c == '-') c = '+';  // base64url
        if (c == '_') c = '/';
        const std::size_t digit = kDigits.find(c);
        if (digit == std::string_view::npos) throw BadCase{"text that is not base64"};
        bits = bits << 6 | static_cast<std::uint32_t>(digit);
        have += 6;
        if (have >= 8) {
            have -= 8;
            bytes.push_back(static_cast<std::byte>(bits >> have));
        }
    }
    return bytes;
}

Pcrs pcrs_of(const Json& json) {
    Pcrs pcrs;
    if (json.is_array()) {
        for (const Json& value : json) {
            pcrs.emplace(static_cast<std::uint32_t>(pcrs.size()), from_hex(value.get<std::string>()));
        }
        return pcrs;
    }
    for (const auto& [index, value] : json.items()) {
        pcrs[static_cast<std::uint32_t>(std::stoul(index))] = from_hex(value.get<std::string>());
    }
    return pcrs;
}

// Parentheses for the JSON: braces would make an array of it.
Case::Case(std::filesystem::path folder, Json json, std::string subject)
    : folder_{std::move(folder)}, json_(std::move(json)), subject_{std::move(subject)} {}

bool Case::has(const std::string& name) const {
    return json_.contains("files") && json_["files"].contains(name);
}

Bytes Case::read(const std::string& path) const {
    std::ifstream file{folder_ / path, std::ios::binary};
    if (!file) throw BadCase{"cannot read " + path};
    const std::string text{std::istreambuf_iterator<char>{file}, {}};
    Bytes bytes(text.size());
    if (!text.empty()) std::memcpy(bytes.data(), text.data(), text.size());
    return bytes;
}

std::vector<Json> Case::changes(const char* key, const std::string& name, const char* value_name) const {
    std::vector<Json> found;
    if (!json_.contains(key)) return found;
    const Json& value = json_[key];
    const Json list = value.is_array() ? value : Json::array({value});
    for (const Json& item : list) {
        const Json change = item.is_object() ? item : Json{{value_name, item}};
        if (change.value("file", subject_) == name) found.push_back(change);
    }
    return found;
}

Bytes Case::with_changes(const std::string& name, Bytes bytes) const {
    for (const Json& change : changes("replace", name, "with")) {
        // The whole file by another one, or some bytes of it.
        if (change.contains("with")) bytes = read(change["with"].get<std::string>());
        else if (change.contains("offset")) {
            const Bytes with = from_hex(change.at("hex").get<std::string>());
            const std::size_t offset = place_in(bytes, change);
            if (with.size() > bytes.size() - offset) throw BadCase{"a replacement goes beyond the end"};
            std::ranges::copy(with, bytes.begin() + static_cast<std::ptrdiff_t>(offset));
        } else throw BadCase{"a replacement of a form that nobody described"};
    }
    for (const Json& change : changes("patch", name, "xor")) apply_xor(bytes, change);
    for (const Json& change : changes("truncate", name, "size")) {
        const auto size = change.at("size").get<std::size_t>();
        if (size > bytes.size()) throw BadCase{"truncated to more than there is"};
        bytes.resize(size);
    }
    for (const Json& change : changes("append", name, "hex")) {
        const Bytes more = from_hex(change.at("hex").get<std::string>());
        bytes.insert(bytes.end(), more.begin(), more.end());
    }
    return bytes;
}

Bytes Case::file(const std::string& name) const {
    if (!has(name)) throw BadCase{"the case names no file '" + name + "'"};
    return with_changes(name, read(json_["files"][name].get<std::string>()));
}

std::vector<Bytes> Case::files(const std::string& name) const {
    std::vector<Bytes> all;
    if (!has(name)) return all;
    const Json& entry = json_["files"][name];
    if (entry.is_string()) return {file(name)};
    for (const Json& path : entry) all.push_back(read(path.get<std::string>()));
    return all;
}

std::optional<Bytes> Case::nonce() const {
    if (!json_.contains("nonce")) return std::nullopt;
    return from_hex(json_["nonce"].get<std::string>());
}

std::optional<std::int64_t> Case::at() const {
    if (!json_.contains("at")) return std::nullopt;
    const auto text = json_["at"].get<std::string>();
    std::tm parts{};
    // Times in the folder are UTC: the offset behind the seconds is +00:00 or Z.
    const char* const rest = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
    if (rest == nullptr || (std::string_view{rest} != "+00:00" && std::string_view{rest} != "Z")) {
        throw BadCase{"a time that is not UTC in the form of RFC 3339"};
    }
    return ::timegm(&parts);
}

Pcrs Case::changed(Pcrs pcrs) const {
    if (json_.contains("pcrs_from")) {
        const Bytes text = read(json_["pcrs_from"].get<std::string>());
        pcrs = pcrs_of(Json::parse(text.begin(), text.end()));
    }
    if (json_.contains("pcr_override")) {
        for (auto& [index, value] : pcrs_of(json_["pcr_override"])) pcrs[index] = value;
    }
    if (json_.contains("pcr_swap")) {
        const Json& swap = json_["pcr_swap"];
        const Json pairs = swap.at(0).is_array() ? swap : Json::array({swap});
        for (const Json& pair : pairs) {
            std::swap(pcrs.at(pair.at(0).get<std::uint32_t>()), pcrs.at(pair.at(1).get<std::uint32_t>()));
        }
    }
    return pcrs;
}

bool Case::wants(const char* setting) const {
    return json_.contains("policy") && json_["policy"].value(setting, false);
}

}  // namespace holdfast::attest::vectors
