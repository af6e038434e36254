// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/blob_verb.hpp"

#include <charconv>
#include <chrono>
#include <string_view>

#include <fcntl.h>

#include "guest_agent/agent/stdio.hpp"
#include "guest_agent/agent/vsock.hpp"
#include "guest_agent/call/blob.hpp"
#include "guest_agent/call/client.hpp"
#include "guest_agent/call/services.hpp"

namespace holdfast::agent {
namespace {

constexpr std::chrono::seconds kPatience{30};

Result<Key> read_key(const char* path) {
    const UniqueFd fd{::open(path, O_RDONLY | O_CLOEXEC)};
    if (!fd) return os_error("open the key file");
    if (HF_TRY(file_size(fd)) != kKeyBytes) return input_error("a key file has 32 bytes");
    Key key;
    HF_TRY(pread_exact(fd, key.bytes(), 0));
    return key;
}

Result<std::uint64_t> number_of(std::string_view text) {
    std::uint64_t number = 0;
    const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (wrong != std::errc{} || end != text.data() + text.size()) return input_error("a version is a number");
    return number;
}

Result<void> put(call::Client& host, std::string_view name, std::uint64_t version, const Key& key) {
    const SecretBuffer plain = HF_TRY(read_input(call::kMaxBlob));
    auto sealed = HF_TRY(call::seal_blob(key, name, version, plain.bytes()));
    const auto body = call::encode(call::NamedBlob{.name = std::string{name}, .bytes = std::move(sealed)});
    HF_TRY(host.call(call::host_service::kNumber, call::host_service::kPutBlob, body, kPatience));
    return {};
}

Result<void> get(call::Client& host, std::string_view name, std::uint64_t oldest, const Key& key) {
    const auto sealed = HF_TRY(host.call(call::host_service::kNumber, call::host_service::kGetBlob,
                                         call::encode_blob_name(name), kPatience));
    const call::Blob blob = HF_TRY(call::open_blob(key, name, oldest, sealed.bytes()));
    return write_output(blob.plain.bytes());
}

}  // namespace

Result<void> blob_verb(std::span<char*> words) {
    if (words.size() != 4) return input_error("usage: holdfast-agent blob put|get NAME VERSION KEYFILE");
    const std::string_view verb = words[0];
    const std::string_view name = words[1];
    const auto version = HF_TRY(number_of(words[2]));
    const Key key = HF_TRY(read_key(words[3]));
    call::Client host{HF_TRY(connect_host(call::kHostPort))};
    if (verb == "put") return put(host, name, version, key);
    if (verb == "get") return get(host, name, version, key);
    return input_error("usage: holdfast-agent blob put|get NAME VERSION KEYFILE");
}

}  // namespace holdfast::agent
