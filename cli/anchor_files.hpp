// SPDX-License-Identifier: Apache-2.0
// Where this host's anchor keeps its files, how its TPM is reached, and where it listens.
#pragma once

#include <string>

#include "sys/fd.hpp"

namespace holdfast::cli {

/// `state_dir`/anchor if given, else /var/lib/holdfast/anchor with the socket in /run/holdfast.
class AnchorFiles {
public:
    explicit AnchorFiles(const std::string& state_dir);

    [[nodiscard]] std::string file(const char* name) const { return directory_ + '/' + name; }
    [[nodiscard]] const std::string& directory() const noexcept { return directory_; }
    [[nodiscard]] const std::string& socket() const noexcept { return socket_; }
    [[nodiscard]] bool exist() const;
    /// Throws HF-0401. For init alone.
    void make_directory() const;
    /// A line of text; empty where there is none.
    [[nodiscard]] std::string read_line(const char* name) const;
    void write_line(const char* name, const std::string& line) const;
    /// For reading and writing, made if it is missing. Throws HF-0401.
    [[nodiscard]] UniqueFd open(const char* name) const;
    /// The key file, locked: one anchor on these files. Throws HF-0604.
    [[nodiscard]] UniqueFd open_locked_keys() const;

private:
    std::string directory_;
    std::string socket_;
};

struct TpmChannel {
    UniqueFd fd;
    bool software = false;
};
/// "device:/dev/tpmrm0", "swtpm:path=SOCKET" or "swtpm:host=IPV4,port=N". Throws HF-0104 or HF-0602.
[[nodiscard]] TpmChannel open_tpm(const std::string& tcti);
inline constexpr const char* kDefaultTcti = "device:/dev/tpmrm0";

}  // namespace holdfast::cli
