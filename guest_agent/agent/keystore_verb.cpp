// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/keystore_verb.hpp"

#include <cstdio>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <unistd.h>

#include "guest_agent/agent/stdio.hpp"
#include "guest_agent/agent/tpm_device.hpp"
#include "guest_agent/keystore/keystore.hpp"

namespace holdfast::agent {
namespace {

constexpr const char* kUsage = "usage: holdfast-agent keystore seal|unseal FILE";

Result<std::vector<std::byte>> read_file(const std::string& path) {
    const UniqueFd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!fd) return os_error("open what was sealed");
    const auto size = HF_TRY(file_size(fd));
    if (size > keystore::kMaxFile) return input_error("not a file of the keystore");
    std::vector<std::byte> bytes(size);
    HF_TRY(pread_exact(fd, bytes, 0));
    return bytes;
}

Result<void> write_durably(const std::string& path, Bytes bytes) {
    const UniqueFd fd{::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    if (!fd) return os_error("write what was sealed");
    HF_TRY(write_all(fd, bytes));
    if (::fsync(fd.get()) < 0) return os_error("fsync");
    const std::string folder = path.substr(0, path.rfind('/') + 1);
    const UniqueFd directory{
        ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!directory || ::fsync(directory.get()) < 0) return os_error("fsync of the folder");
    return {};
}

Result<void> seal(const std::string& path) {
    const SecretBuffer secret = HF_TRY(read_input(keystore::kMaxSecret));
    const auto tpm = HF_TRY(open_tpm());
    const std::string next = path + ".next";
    const auto file = HF_TRY(keystore::seal_for_next(tpm, secret.bytes()));
    HF_TRY(write_durably(next, file));
    HF_TRY(keystore::advance(tpm));
    if (std::rename(next.c_str(), path.c_str()) < 0) return os_error("rename what was sealed");
    return {};
}

Result<SecretBuffer> unsealed(const std::string& path) {
    const auto tpm = HF_TRY(open_tpm());
    const auto try_one = [&](const std::string& file) -> Result<SecretBuffer> {
        const auto bytes = HF_TRY(read_file(file));
        return keystore::unseal(tpm, bytes);
    };
    auto secret = try_one(path);
    if (secret) return secret;
    auto next = try_one(path + ".next");
    if (next) return next;
    return secret.error();
}

}  // namespace

Result<void> keystore_verb(std::span<char*> words) {
    if (words.size() != 2) return input_error(kUsage);
    const std::string_view verb = words[0];
    if (verb == "seal") return seal(words[1]);
    if (verb != "unseal") return input_error(kUsage);
    const SecretBuffer secret = HF_TRY(unsealed(words[1]));
    return write_output(secret.bytes());
}

}  // namespace holdfast::agent
