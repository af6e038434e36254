// SPDX-License-Identifier: Apache-2.0
#include "cli/vtpm_home.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/rand.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/error.hpp"
#include "cli/files.hpp"
#include "cli/output.hpp"
#include "cli/shape.hpp"
#include "cli/soon.hpp"
#include "vtpm/state/seal.hpp"

namespace holdfast::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDraftSuffix = ".new";  // behind a dot, so that no name is like it
constexpr std::uint64_t kMaxPem = 16384;

[[noreturn]] void unusable(const std::string& path, const Error& error) {
    throw Failure{Code::StateDirectory, fmt::format("'{}' cannot be used", path), reason_of(error),
                  "give --state-dir a directory that this user may write"};
}

[[noreturn]] void bad_keys(const std::string& path, std::string why) {
    throw Failure{Code::VtpmKeys, fmt::format("the host's key '{}' cannot be used", path), std::move(why),
                  "bring it back from a backup: without it no vTPM state of this host opens"};
}
[[noreturn]] void bad_keys(const std::string& path, const Error& error) { bad_keys(path, reason_of(error)); }

void make_directory(const std::string& path) {
    std::error_code failed;
    fs::create_directories(fs::path{path}.parent_path(), failed);
    if (::mkdir(path.c_str(), 0700) < 0 && errno != EEXIST) unusable(path, os_error("mkdir"));
    struct stat status{};
    if (::lstat(path.c_str(), &status) < 0) unusable(path, os_error("lstat"));
    if (!S_ISDIR(status.st_mode)) unusable(path, input_error("it is not a directory"));
    if (status.st_uid != ::geteuid()) unusable(path, input_error("it belongs to another user"));
    if ((status.st_mode & 077) != 0 && ::chmod(path.c_str(), 0700) < 0) unusable(path, os_error("chmod"));
}

void sync_directory(const std::string& path) {
    const UniqueFd fd{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!fd || ::fsync(fd.get()) < 0) unusable(path, os_error("sync directory"));
}

// Whole or not there at all, and never in place of another one.
void write_new_file(const std::string& path, std::span<const std::byte> bytes, mode_t mode) {
    const std::string fresh = path + ".new";
    const UniqueFd fd{::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode)};
    if (!fd) unusable(fresh, os_error("open"));
    if (const auto written = write_all(fd, bytes); !written) unusable(fresh, written.error());
    if (::fsync(fd.get()) < 0) unusable(fresh, os_error("sync"));
    if (::link(fresh.c_str(), path.c_str()) < 0) unusable(path, os_error("link"));
    ::unlink(fresh.c_str());
}

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

/// Only its owner may read a key; one that others could have read or written is not used.
UniqueFd open_key(const std::string& path) {
    UniqueFd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
    if (!fd) bad_keys(path, os_error("open"));
    struct stat status{};
    if (::fstat(fd.get(), &status) < 0) bad_keys(path, os_error("fstat"));
    if (status.st_uid != ::geteuid() || (status.st_mode & 077) != 0) {
        bad_keys(path, input_error("it is not this user's alone (mode 0600)"));
    }
    return fd;
}

std::string read_pem(const UniqueFd& fd, const std::string& path) {
    auto text = read_text(fd, kMaxPem);
    if (!text) bad_keys(path, text.error());
    return std::move(*text);
}

std::string host_name() {
    std::array<char, 65> name{};
    if (::gethostname(name.data(), name.size() - 1) < 0 || name[0] == '\0') return "localhost";
    std::string text{name.data()};
    std::ranges::replace_if(
        text, [](unsigned char c) { return std::isalnum(c) == 0 && c != '.' && c != '-'; }, '-');
    return text;
}

bool is_locked(const UniqueFd& fd) {
    struct flock lock{};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    return ::fcntl(fd.get(), F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

FoundVtpm look_at(const std::string& name, const std::string& file) {
    FoundVtpm found{.name = name, .file = file, .owner = {}, .serving = false, .damage = {}};
    UniqueFd fd{::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
    if (!fd) {
        found.damage = reason_of(os_error("open"));
        return found;
    }
    found.serving = is_locked(fd);
    vtpm::store::FileDisk disk{std::move(fd)};
    auto owner = vtpm::store::identify(disk);
    if (!owner) found.damage = reason_of(owner.error());
    else if (owner->identity.name != name) found.damage = "it is the state of another vTPM";
    else found.owner = std::move(*owner);
    return found;
}

}  // namespace

std::string persistent_root(const std::string& state_dir) {
    if (!state_dir.empty()) return state_dir;
    if (::geteuid() == 0) return "/var/lib/holdfast";
    const char* const state = std::getenv("XDG_STATE_HOME");
    if (state != nullptr && state[0] == '/') return std::string{state} + "/holdfast";
    const char* const home = std::getenv("HOME");
    if (home != nullptr && home[0] == '/') return std::string{home} + "/.local/state/holdfast";
    return "/var/lib/holdfast";
}

UniqueFd open_vtpm_state(const std::string& file) {
    UniqueFd fd{::open(file.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW)};
    if (!fd) unusable(file, os_error("open"));
    return fd;
}

// ---- vTPMs

std::vector<FoundVtpm> VtpmHome::list() const {
    std::vector<FoundVtpm> all;
    std::error_code failed;
    for (const auto& entry : fs::directory_iterator{root_ + "/vtpm", failed}) {
        const std::string name = entry.path().filename().string();
        if (!name.starts_with('.')) all.push_back(look_at(name, entry.path().string() + "/state"));
    }
    std::ranges::sort(all, {}, &FoundVtpm::name);
    return all;
}

bool VtpmHome::has(const std::string& name) const { return exists(directory(name)); }

FoundVtpm VtpmHome::find(const std::string& name) const {
    check_name(name);
    if (!has(name)) {
        throw Failure{
            Code::NoSuchVtpm, fmt::format("there is no vTPM named '{}'", name),
            fmt::format("'{}' does not exist", directory(name)),
            fmt::format("make it: holdfast vtpm create {}; or give the --state-dir it was made with", name)};
    }
    return look_at(name, directory(name) + "/state");
}

FoundVtpm VtpmHome::find_whole(const std::string& name) const {
    FoundVtpm found = find(name);
    if (!found.damage.empty()) {
        throw Failure{Code::VtpmState, fmt::format("the state of the vTPM '{}' cannot be used", name),
                      found.damage, "it was left as it is: bring back the newest backup of its file"};
    }
    return found;
}

FoundVtpm VtpmHome::find_unused(const std::string& name) const {
    FoundVtpm found;
    const bool unused = soon([&] {
        found = find_whole(name);
        return !found.serving;
    });
    if (unused) return found;
    throw Failure{Code::VtpmInUse, fmt::format("the vTPM '{}' is in use", name),
                  "a process serves it, or a VM runs with it",
                  "end that first; for the destination of a migration say --incoming"};
}

VtpmHome::Draft VtpmHome::draft(const std::string& name) const {
    check_name(name);
    make_directory(root_ + "/vtpm");
    const std::string path = root_ + "/vtpm/." + name + kDraftSuffix;
    make_directory(path);
    UniqueFd lock{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!lock || ::flock(lock.get(), LOCK_EX | LOCK_NB) < 0) {
        throw Failure{Code::VtpmExists, fmt::format("a vTPM named '{}' is being made", name),
                      fmt::format("another process has '{}' locked", path), "wait for it"};
    }
    if (exists(directory(name))) {
        ::rmdir(path.c_str());
        throw Failure{Code::VtpmExists, fmt::format("there is a vTPM named '{}' already", name),
                      fmt::format("'{}' exists", directory(name)),
                      fmt::format("choose another name, or destroy it: holdfast vtpm remove {}", name)};
    }
    ::unlink((path + "/state").c_str());  // of a `create` that was killed
    return Draft{path, directory(name), std::move(lock)};
}

VtpmHome::Draft::Draft(Draft&& other) noexcept
    : path_{std::exchange(other.path_, {})},
      final_path_{std::move(other.final_path_)},
      lock_{std::move(other.lock_)} {}

VtpmHome::Draft::~Draft() {
    if (path_.empty()) return;
    ::unlink(file().c_str());
    ::rmdir(path_.c_str());
}

void VtpmHome::Draft::keep() {
    sync_directory(path_);
    if (::rename(path_.c_str(), final_path_.c_str()) < 0) unusable(final_path_, os_error("rename"));
    path_.clear();
    sync_directory(fs::path{final_path_}.parent_path().string());
}

void VtpmHome::remove(const FoundVtpm& found) const {
    if (::unlink(found.file.c_str()) < 0 && errno != ENOENT) unusable(found.file, os_error("unlink"));
    ::unlink(quote_socket(found.name).c_str());  // a vTPM that was killed leaves it
    if (::rmdir(directory(found.name).c_str()) < 0) unusable(directory(found.name), os_error("rmdir"));
    sync_directory(root_ + "/vtpm");
}

// ---- keys

void VtpmHome::make_keys() const {
    make_directory(root_ + "/host");
    const std::string state = root_ + "/host/state.key";
    const std::string ca = root_ + "/host/ca.key";
    // Two that make the first vTPMs at once: the second finds the first's keys, and does not replace them.
    const UniqueFd lock{::open((root_ + "/host").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!lock || ::flock(lock.get(), LOCK_EX) < 0) unusable(root_ + "/host", os_error("lock"));
    if (exists(state) && exists(ca) && exists(ca_certificate_path())) return;
    if (!list().empty())
        bad_keys(root_ + "/host", input_error("a key is missing, and there are vTPMs that need it"));

    SecretBytes key = expect(SecretBytes::create(vtpm::kStateKeyBytes));
    // SAFETY: bytes as unsigned char, for a C interface.
    if (::RAND_bytes(reinterpret_cast<unsigned char*>(key.bytes().data()), vtpm::kStateKeyBytes) != 1) {
        expect(Result<void>{Error{Fault::Os, 0, "draw a key"}});
    }
    const auto authority = expect(vtpm::ca::Authority::generate(host_name()));
    std::string ca_key = expect(authority.key_pem());
    const std::string ca_certificate = expect(authority.certificate_pem());
    for (const std::string& old : {state, ca, ca_certificate_path()}) ::unlink(old.c_str());
    write_new_file(state, key.bytes(), 0600);
    write_new_file(ca, std::as_bytes(std::span{ca_key}), 0600);
    wipe(std::as_writable_bytes(std::span{ca_key}));
    write_new_file(ca_certificate_path(), std::as_bytes(std::span{ca_certificate}), 0644);
    sync_directory(root_ + "/host");
}

SecretBytes VtpmHome::state_key() const {
    const std::string path = root_ + "/host/state.key";
    const UniqueFd fd = open_key(path);
    const auto size = file_size(fd);
    if (!size || *size != vtpm::kStateKeyBytes) bad_keys(path, input_error("it does not have 32 bytes"));
    SecretBytes key = expect(SecretBytes::create(vtpm::kStateKeyBytes));
    if (const auto read = pread_exact(fd, key.bytes(), 0); !read) bad_keys(path, read.error());
    return key;
}

vtpm::ca::Authority VtpmHome::authority() const {
    const std::string path = root_ + "/host/ca.key";
    const UniqueFd certificate{::open(ca_certificate_path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
    if (!certificate) bad_keys(ca_certificate_path(), os_error("open"));
    std::string key = read_pem(open_key(path), path);
    auto authority = vtpm::ca::Authority::load(key, read_pem(certificate, ca_certificate_path()));
    wipe(std::as_writable_bytes(std::span{key}));
    if (!authority) bad_keys(path, authority.error());
    return std::move(*authority);
}

}  // namespace holdfast::cli
