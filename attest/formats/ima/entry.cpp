// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/ima/entry.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "sys/wire/endian.hpp"

namespace holdfast::attest::ima {
namespace {

/// Which fields follow digest and name: none, or one of bytes.
struct Template {
    std::string_view name;
    bool has_more;
};
constexpr std::array kTemplates{Template{"ima-ng", false}, Template{"ima-sig", true},
                                Template{"ima-buf", true}, Template{"ima-ngv2", false},
                                Template{"ima-sigv2", true}};

Result<Template> template_of(std::string_view name) {
    const auto* const row = std::ranges::find(kTemplates, name, &Template::name);
    if (row == kTemplates.end()) return peer_fault("IMA entry of a template that cannot be checked");
    return *row;
}

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span{text}); }

/// Text up to the next blank, which is taken too.
std::string_view take_word(std::string_view& rest) {
    const std::size_t blank = rest.find(' ');
    const auto word = rest.substr(0, blank);
    rest = blank == std::string_view::npos ? std::string_view{} : rest.substr(blank + 1);
    return word;
}

std::optional<std::vector<std::byte>> from_hex(std::string_view text) {
    if (text.size() % 2 != 0) return std::nullopt;
    std::vector<std::byte> bytes(text.size() / 2);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        std::uint8_t byte = 0;
        const char* const first = text.data() + 2 * i;
        const auto [end, error] = std::from_chars(first, first + 2, byte, 16);
        if (error != std::errc{} || end != first + 2) return std::nullopt;
        bytes[i] = std::byte{byte};
    }
    return bytes;
}

std::optional<Digest> template_hash_of(std::span<const std::byte> bytes) {
    for (const HashAlg alg : kHashAlgs) {
        if (digest_size(alg) == bytes.size()) return digest_from(alg, bytes);
    }
    return std::nullopt;
}

void put_field(std::vector<std::byte>& data, std::span<const std::byte> first,
               std::span<const std::byte> second = {}) {
    const Le<std::uint32_t> size{static_cast<std::uint32_t>(first.size() + second.size())};
    const auto size_bytes = std::as_bytes(std::span{&size, 1});
    data.insert(data.end(), size_bytes.begin(), size_bytes.end());
    data.insert(data.end(), first.begin(), first.end());
    data.insert(data.end(), second.begin(), second.end());
}

/// "sha256:", "ima:sha256:": what is in front of a file's digest.
std::optional<HashAlg> alg_of(std::string_view prefix) {
    if (prefix.ends_with(':')) prefix.remove_suffix(1);
    const std::size_t colon = prefix.rfind(':');
    return hash_of_name(colon == std::string_view::npos ? prefix : prefix.substr(colon + 1));
}

/// Fields d-ng (or d-ngv2), n-ng and, of some templates, one more.
std::vector<std::byte> template_data(std::string_view prefix, std::span<const std::byte> digest,
                                     std::string_view path,
                                     const std::optional<std::vector<std::byte>>& more) {
    constexpr std::string_view kNul{"\0", 1};
    std::vector<std::byte> named{bytes_of(prefix).begin(), bytes_of(prefix).end()};
    named.push_back(std::byte{0});
    std::vector<std::byte> data;
    put_field(data, named, digest);
    put_field(data, bytes_of(path), bytes_of(kNul));
    if (more) put_field(data, *more);
    return data;
}

/// The text does not say where a path with blanks ends and whether a signature follows: what the template
/// hash fits is right. If none fits the last stays, and the wrong hash is reported.
void settle_path(Entry& entry, std::string_view rest, std::string_view prefix) {
    const auto try_with = [&](std::string_view path, std::vector<std::byte> more) {
        entry.path = path;
        entry.data = template_data(prefix, entry.file_digest, path, std::move(more));
        return has_right_hash(entry);
    };
    const std::size_t blank = rest.rfind(' ');
    if (blank != std::string_view::npos) {
        if (auto more = from_hex(rest.substr(blank + 1));
            more && try_with(rest.substr(0, blank), std::move(*more))) {
            return;
        }
    }
    (void)try_with(rest, {});
}

Result<std::span<const std::byte>> take_bytes(std::span<const std::byte>& rest, std::size_t size) {
    if (size > kMaxEntry) return peer_fault("IMA entry is longer than any");
    if (size > rest.size()) return peer_fault("IMA list ends in the middle of an entry");
    const auto taken = rest.first(size);
    rest = rest.subspan(size);
    return taken;
}

Result<std::uint32_t> take_number(std::span<const std::byte>& rest) {
    const auto raw = HF_TRY(take_bytes(rest, sizeof(std::uint32_t)));
    Le<std::uint32_t> number;
    std::memcpy(&number, raw.data(), sizeof number);
    return number.get();
}

std::string_view text_of(std::span<const std::byte> bytes) {
    // SAFETY: bytes as characters.
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

bool has_right_hash(const Entry& entry) {
    return entry.violation || hash(entry.template_hash.alg, entry.data) == entry.template_hash;
}

Result<Entry> read_line(std::string_view line) {
    if (line.size() > kMaxEntry) return peer_fault("IMA entry is longer than any");
    auto rest = line;
    Entry entry;
    const auto pcr = take_word(rest);
    const auto [end, error] = std::from_chars(pcr.data(), pcr.data() + pcr.size(), entry.pcr);
    if (error != std::errc{} || end != pcr.data() + pcr.size()) return peer_fault("IMA entry without a PCR");
    const auto hash_bytes = from_hex(take_word(rest));
    const auto template_hash = hash_bytes ? template_hash_of(*hash_bytes) : std::nullopt;
    if (!template_hash) return peer_fault("IMA entry without a template hash");
    entry.template_hash = *template_hash;
    entry.violation =
        std::ranges::all_of(template_hash->bytes(), [](std::byte b) { return b == std::byte{0}; });
    const Template kind = HF_TRY(template_of(take_word(rest)));
    const auto digest = take_word(rest);
    const std::size_t colon = digest.rfind(':');
    if (colon == std::string_view::npos) return peer_fault("IMA entry whose digest names no algorithm");
    const auto prefix = digest.substr(0, colon + 1);
    auto value = from_hex(digest.substr(colon + 1));
    if (!value) return peer_fault("IMA entry whose digest is not hex");
    entry.file_digest = std::move(*value);
    entry.file_alg = alg_of(prefix);
    if (kind.has_more) {
        settle_path(entry, rest, prefix);
    } else {
        entry.path = rest;
        entry.data = template_data(prefix, entry.file_digest, rest, std::nullopt);
    }
    return entry;
}

Result<Entry> take_binary(std::span<const std::byte>& rest) {
    Entry entry;
    entry.pcr = HF_TRY(take_number(rest));
    const auto hash_bytes = HF_TRY(take_bytes(rest, digest_size(HashAlg::Sha1)));
    entry.template_hash = *digest_from(HashAlg::Sha1, hash_bytes);
    entry.violation = std::ranges::all_of(hash_bytes, [](std::byte b) { return b == std::byte{0}; });
    const auto name_size = HF_TRY(take_number(rest));
    const auto name = HF_TRY(take_bytes(rest, name_size));
    const Template kind = HF_TRY(template_of(text_of(name)));
    const auto data_size = HF_TRY(take_number(rest));
    auto fields = HF_TRY(take_bytes(rest, data_size));
    entry.data.assign(fields.begin(), fields.end());
    const auto digest_field_size = HF_TRY(take_number(fields));
    const auto digest = text_of(HF_TRY(take_bytes(fields, digest_field_size)));
    const std::size_t nul = digest.find('\0');
    if (nul == std::string_view::npos) return peer_fault("IMA entry whose digest names no algorithm");
    entry.file_alg = alg_of(digest.substr(0, nul));
    const auto value = bytes_of(digest.substr(nul + 1));
    entry.file_digest.assign(value.begin(), value.end());
    const auto path_size = HF_TRY(take_number(fields));
    entry.path = text_of(HF_TRY(take_bytes(fields, path_size)));
    if (entry.path.ends_with('\0')) entry.path.remove_suffix(1);
    if (kind.has_more) {
        const auto more_size = HF_TRY(take_number(fields));
        HF_TRY(take_bytes(fields, more_size));
    }
    if (!fields.empty()) return peer_fault("IMA entry has trailing bytes");
    return entry;
}

}  // namespace holdfast::attest::ima
