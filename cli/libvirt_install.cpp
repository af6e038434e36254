// SPDX-License-Identifier: Apache-2.0
// holdfast libvirt install: what this host's libvirt needs for domains of holdfast-qemu, shown or done.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/error.hpp"
#include "cli/files.hpp"
#include "cli/libvirt_conf.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/resources.hpp"
#include "libvirt/environment.hpp"

namespace holdfast::cli {
namespace {

/// In each file of ours, and at the end of each line of ours in a file of somebody else's.
constexpr std::string_view kMark = "# holdfast libvirt install";

struct Piece {
    std::string path;
    std::string text;      ///< the whole file; or one line of it
    const char* why = "";  ///< what it is for
    mode_t mode = 0644;
    bool is_line = false;
};

std::vector<Piece> pieces(const std::string& emulator) {
    const std::string programs = std::filesystem::path{emulator}.parent_path().string();
    const std::string limit = fmt::format(
        "{}: guest RAM of the tier software is never swapped\n[Service]\nLimitMEMLOCK=infinity\n", kMark);
    const char* const limit_why = "domains may lock guest memory";
    std::vector<Piece> all{
        {"/etc/systemd/system/libvirtd.service.d/holdfast.conf", limit, limit_why},
        {"/etc/systemd/system/virtqemud.service.d/holdfast.conf", limit, limit_why},
        {.path = "/etc/libvirt/hooks/qemu.d/holdfast",
         .text = fmt::format(
             "#!/bin/sh\n{}\n"
             "# Only what is about to start is judged: nothing else that libvirt tells may fail.\n"
             "[ \"$2\" = prepare ] || exit 0\nexec {}/holdfast libvirt hook\n",
             kMark, programs),
         .why = "no domain, of QEMU's either, gets a device that the device policy forbids",
         .mode = 0755}};
    if (!has_apparmor()) return all;
    all.push_back({kAppArmorPiece,
                   fmt::format("{}\n{}/holdfast-qemu rmix,\n"
                               "# It starts the VM's processes, which make jails of their own.\n"
                               "{}/holdfast Ux,\n"
                               "signal (send) peer=unconfined,\n"
                               "unix (send, receive, connect) type=stream peer=(label=unconfined),\n"
                               "{}/** rw,\n",
                               kMark, programs, programs, libvirt::kStateDir),
                   "AppArmor lets holdfast-qemu start its processes"});
    all.push_back({.path = "/etc/apparmor.d/local/usr.sbin.libvirtd",
                   .text = fmt::format("{}/holdfast{{,-qemu}} PUx, {}\n", programs, kMark),
                   .why = "AppArmor lets libvirt ask holdfast-qemu what it can do",
                   .is_line = true});
    return all;
}

std::string content_of(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream{path}.rdbuf();
    return text.str();
}

/// Of a file of somebody else's, its lines without ours.
std::string lines_without_ours(const std::string& path) {
    std::ifstream lines{path};
    std::string rest;
    for (std::string line; std::getline(lines, line);) {
        if (!line.ends_with(kMark)) rest += line + '\n';
    }
    return rest;
}

/// What the file will hold; empty: it will not be there.
std::string wanted(const Piece& piece, bool remove) {
    if (piece.is_line) return lines_without_ours(piece.path) + (remove ? "" : piece.text);
    return remove ? "" : piece.text;
}

void check_ours(const Piece& piece, const std::string& now) {
    if (piece.is_line || now.empty() || now.find(kMark) != std::string::npos) return;
    throw Failure{Code::Value, fmt::format("'{}' is not changed", piece.path),
                  "it is there, and holdfast libvirt install has not written it", "move it away"};
}

void put(const Piece& piece, const std::string& text) {
    std::error_code failed;
    if (text.empty() && !piece.is_line) {
        std::filesystem::remove(piece.path, failed);
        return;
    }
    std::filesystem::create_directories(std::filesystem::path{piece.path}.parent_path(), failed);
    write_file(piece.path, std::as_bytes(std::span{text}), piece.mode);
}

/// The state directory of libvirt's own user. It holds vTPMs: it is made, and never removed.
bool make_state_directory(const LibvirtInstallOptions& options) {
    const std::string user = domain_user();
    if (options.remove || user == "root") return false;
    const passwd* const entry = ::getpwnam(user.c_str());
    if (entry == nullptr) {
        throw Failure{Code::Value, fmt::format("there is no user '{}'", printable(user)),
                      "domains run as this user (/etc/libvirt/qemu.conf)", "install libvirt's QEMU driver"};
    }
    struct stat status{};
    if (::stat(libvirt::kStateDir, &status) == 0 && status.st_uid == entry->pw_uid) return false;
    print("{}: a directory of {}\n    state of domains that do not run as root\n", libvirt::kStateDir, user);
    if (!options.yes) return true;
    std::error_code failed;
    std::filesystem::create_directories(libvirt::kStateDir, failed);
    if (::chmod(libvirt::kStateDir, 0700) == 0 &&
        ::chown(libvirt::kStateDir, entry->pw_uid, entry->pw_gid) == 0)
        return true;
    throw Failure{Code::StateDirectory, fmt::format("'{}' cannot be made", libvirt::kStateDir),
                  reason_of(os_error("chown")), "run this as root"};
}

bool change(const Piece& piece, const LibvirtInstallOptions& options) {
    const std::string now = content_of(piece.path);
    check_ours(piece, now);
    const std::string then = wanted(piece, options.remove);
    if (now == then) return false;
    print("{}{}\n    {}\n", piece.path, options.remove ? ": taken back" : "", piece.why);
    std::istringstream lines{options.remove ? "" : piece.text};
    for (std::string line; std::getline(lines, line);) print("    + {}\n", line);
    if (options.yes) put(piece, then);
    return true;
}

}  // namespace

int install_libvirt(const LibvirtInstallOptions& options) {
    const std::string emulator =
        options.emulator.empty() ? program_beside("holdfast-qemu") : options.emulator;
    bool changed = make_state_directory(options);
    for (const Piece& piece : pieces(emulator)) changed = change(piece, options) || changed;
    if (!changed) print("there is nothing to change\n");
    else if (!options.yes) print("nothing was changed: --yes does it\n");
    else
        print("now: systemctl daemon-reload; systemctl restart libvirtd{}\n",
              has_apparmor() ? "; systemctl reload apparmor" : "");
    return 0;
}

}  // namespace holdfast::cli
