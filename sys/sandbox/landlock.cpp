// SPDX-License-Identifier: Apache-2.0
// ABIs 1 to 7 (Linux 5.13 to 6.15). The headers of Debian 12 stop at ABI 2, hence the numbers here.
#include "sys/sandbox/landlock.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>

#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/fd.hpp"

namespace holdfast::sandbox {
namespace {

struct RulesetAttr {           // struct landlock_ruleset_attr as of ABI 6
    std::uint64_t fs = 0;      //  0, ABI 1
    std::uint64_t net = 0;     //  8, ABI 4
    std::uint64_t scoped = 0;  // 16, ABI 6
};
static_assert(sizeof(RulesetAttr) == 24);

/// What an ABI can deny, and how much of the struct it knows.
struct Handled {
    RulesetAttr attr;
    std::size_t size;
};
constexpr std::uint64_t first_bits(unsigned count) { return (1ULL << count) - 1; }
constexpr std::uint64_t kTcp = first_bits(2);     // LANDLOCK_ACCESS_NET_BIND_TCP, _CONNECT_TCP
constexpr std::uint64_t kScopes = first_bits(2);  // LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET, _SIGNAL
constexpr std::array kByAbi{
    Handled{{.fs = first_bits(13)}, 8},                                   // 1: EXECUTE to MAKE_SYM
    Handled{{.fs = first_bits(14)}, 8},                                   // 2: REFER
    Handled{{.fs = first_bits(15)}, 8},                                   // 3: TRUNCATE
    Handled{{.fs = first_bits(15), .net = kTcp}, 16},                     // 4
    Handled{{.fs = first_bits(16), .net = kTcp}, 16},                     // 5: IOCTL_DEV
    Handled{{.fs = first_bits(16), .net = kTcp, .scoped = kScopes}, 24},  // 6 and later
};

}  // namespace

int landlock_abi() noexcept {
    const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return abi < 0 ? 0 : static_cast<int>(abi);
}

Result<int> landlock_deny_all() {
    const int abi = landlock_abi();
    if (abi == 0) return 0;
    const Handled& handled = kByAbi[std::min(static_cast<std::size_t>(abi), kByAbi.size()) - 1];
    const UniqueFd ruleset{
        static_cast<int>(::syscall(SYS_landlock_create_ruleset, &handled.attr, handled.size, 0U))};
    if (!ruleset) return os_error("create the Landlock ruleset");
    if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0U) < 0) {
        return os_error("apply the Landlock ruleset");
    }
    return abi;
}

}  // namespace holdfast::sandbox
