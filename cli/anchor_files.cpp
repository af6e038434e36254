// SPDX-License-Identifier: Apache-2.0
#include "cli/anchor_files.hpp"

#include <charconv>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <span>

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include "cli/error.hpp"
#include "cli/output.hpp"
#include "cli/soon.hpp"
#include "sys/socket.hpp"

namespace holdfast::cli {
namespace {

[[noreturn]] void unusable(const std::string& path, const std::string& why) {
    throw Failure{Code::StateDirectory, fmt::format("{} cannot be used", path), why,
                  "run as root, or give a --state-dir that this user owns"};
}

[[noreturn]] void bad_tcti(const std::string& tcti) {
    throw Failure{Code::Value, fmt::format("--tcti does not understand '{}'", printable(tcti)),
                  "it names no way to a TPM that Holdfast knows",
                  "device:/dev/tpmrm0, swtpm:path=SOCKET or swtpm:host=127.0.0.1,port=2321"};
}

[[noreturn]] void no_tpm(const std::string& tcti, const Error& error) {
    throw Failure{
        Code::AnchorTpm, fmt::format("the TPM at {} cannot be reached", printable(tcti)), reason_of(error),
        "holdfast doctor says what this host has; --tcti names a software TPM for trying things out"};
}

Result<UniqueFd> connect_tcp(const std::string& host, std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    if (::inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) return input_error("not an IPv4 address");
    UniqueFd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (!fd) return os_error("socket");
    // SAFETY: the sockets API takes every address family through this one type.
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)
        return os_error("connect");
    return fd;
}

}  // namespace

AnchorFiles::AnchorFiles(const std::string& state_dir)
    : directory_{(state_dir.empty() ? "/var/lib/holdfast" : state_dir) + "/anchor"},
      socket_{(state_dir.empty() ? "/run/holdfast" : directory_) + "/anchor.sock"} {}

bool AnchorFiles::exist() const {
    std::error_code unreadable;  // root's, and this is not root: then it is not this user's anchor
    return std::filesystem::exists(file("keys"), unreadable);
}

void AnchorFiles::make_directory() const {
    std::error_code failed;
    std::filesystem::create_directories(directory_, failed);
    if (!failed) std::filesystem::permissions(directory_, std::filesystem::perms::owner_all, failed);
    if (failed) unusable(directory_, failed.message());
}

std::string AnchorFiles::read_line(const char* name) const {
    std::ifstream stream{file(name)};
    std::string line;
    std::getline(stream, line);
    return line;
}

void AnchorFiles::write_line(const char* name, const std::string& line) const {
    const UniqueFd fd = open(name);
    const auto bytes = std::as_bytes(std::span{line});
    // A power cut must not leave an anchor that does not know its TPM.
    const bool written = ::ftruncate(fd.get(), 0) == 0 && write_all(fd, bytes) && ::fsync(fd.get()) == 0;
    if (!written) unusable(file(name), reason_of_errno(errno));
}

UniqueFd AnchorFiles::open(const char* name) const {
    UniqueFd fd{::open(file(name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
    if (!fd) unusable(file(name), reason_of_errno(errno));
    return fd;
}

UniqueFd AnchorFiles::open_locked_keys() const {
    UniqueFd keys = open("keys");
    const bool locked =
        soon([&] { return ::flock(keys.get(), LOCK_EX | LOCK_NB) == 0; }, std::chrono::seconds{2});
    if (locked) return keys;
    throw Failure{Code::AnchorBusy, "an anchor uses these files already", "its key file is locked",
                  "holdfast anchor status shows it; one anchor serves all vTPMs of a host"};
}

TpmChannel open_tpm(const std::string& tcti) {
    constexpr std::string_view device = "device:";
    constexpr std::string_view by_path = "swtpm:path=";
    constexpr std::string_view by_host = "swtpm:host=";
    if (tcti.starts_with(device)) {
        UniqueFd fd{::open(tcti.c_str() + device.size(), O_RDWR | O_CLOEXEC)};
        if (!fd) no_tpm(tcti, os_error("open the TPM"));
        return {std::move(fd), false};
    }
    Result<UniqueFd> fd = input_error("");
    if (tcti.starts_with(by_path)) {
        fd = connect_unix(tcti.substr(by_path.size()));
    } else if (tcti.starts_with(by_host)) {
        const auto comma = tcti.find(",port=");
        if (comma == std::string::npos) bad_tcti(tcti);
        std::uint16_t port = 0;
        const char* const end = tcti.data() + tcti.size();
        if (std::from_chars(tcti.data() + comma + 6, end, port).ptr != end) bad_tcti(tcti);
        fd = connect_tcp(tcti.substr(by_host.size(), comma - by_host.size()), port);
    } else {
        bad_tcti(tcti);
    }
    if (!fd) no_tpm(tcti, fd.error());
    return {std::move(*fd), true};
}

}  // namespace holdfast::cli
