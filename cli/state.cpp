// SPDX-License-Identifier: Apache-2.0
#include "cli/state.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "cli/error.hpp"
#include "cli/files.hpp"
#include "cli/output.hpp"
#include "cli/shape.hpp"

namespace holdfast::cli {
namespace {

constexpr const char* kLock = "lock";
constexpr const char* kRecord = "vm.json";
constexpr std::uint64_t kMaxRecord = 64 * 1024;
constexpr std::int64_t kKeepSeconds = 24 * 3600;
constexpr int kClaimTries = 100;

// Everything that a VM's directory may hold, the lock last: while it exists, the rest is ours.
constexpr std::array kFiles{kQmpSocket, kConsoleSocket, kVmmLog, kConsoleLog, "vm.json.new", kRecord};

[[noreturn]] void unusable(const std::string& path, const Error& error) {
    throw Failure{Code::StateDirectory, fmt::format("the state directory '{}' cannot be used", path),
                  reason_of(error),
                  "set XDG_RUNTIME_DIR or give --state-dir a directory that this user may write"};
}

// Open-file-description locks (fcntl(2)): held by the descriptor, gone with the process, and asked
// about without being taken, so that `status` never makes a `run` believe that a name is in use.
struct flock whole_file(int type) {
    struct flock lock{};
    lock.l_type = static_cast<short>(type);
    lock.l_whence = SEEK_SET;
    return lock;
}

bool is_locked(const std::string& directory) {
    const UniqueFd fd{::open((directory + '/' + kLock).c_str(), O_RDONLY | O_CLOEXEC)};
    struct flock lock = whole_file(F_WRLCK);
    return fd && ::fcntl(fd.get(), F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

void make_directory(const std::string& path) {
    if (::mkdir(path.c_str(), 0700) < 0 && errno != EEXIST) unusable(path, os_error("mkdir"));
    struct stat status{};
    if (::lstat(path.c_str(), &status) < 0) unusable(path, os_error("lstat"));
    if (!S_ISDIR(status.st_mode)) unusable(path, input_error("it is not a directory"));
    if (status.st_uid != ::geteuid()) unusable(path, input_error("it belongs to another user"));
    if ((status.st_mode & 077) != 0 && ::chmod(path.c_str(), 0700) < 0) unusable(path, os_error("chmod"));
}

void make_parents(const std::string& path) {
    for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
        const std::string parent = path.substr(0, at);
        if (::mkdir(parent.c_str(), 0755) < 0 && errno != EEXIST) unusable(parent, os_error("mkdir"));
    }
}

void remove_files(const std::string& directory, bool keep_record) {
    for (const char* const file : kFiles) {
        const bool kept = file == kRecord || file == kVmmLog || file == kConsoleLog;
        if (!(keep_record && kept)) ::unlink((directory + '/' + file).c_str());
    }
}

std::int64_t file_time(const std::string& path) {
    struct stat status{};
    return ::stat(path.c_str(), &status) == 0 ? status.st_mtim.tv_sec : 0;
}

std::optional<std::string> read_small(const std::string& path) {
    const UniqueFd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
    if (!fd) return std::nullopt;
    auto text = read_text(fd, kMaxRecord);
    if (!text) return std::nullopt;
    return std::move(*text);
}

std::optional<Record> parse_record(const std::string& text) {
    try {
        const auto json = nlohmann::json::parse(text);
        Record record;
        record.name = json.at("name");
        record.state = json.at("state");
        record.pid = json.at("pid");
        record.tier = json.at("tier");
        if (const auto& digest = json.at("launch_digest"); !digest.is_null()) record.launch_digest = digest;
        if (json.contains("pcrs")) record.pcrs = json.at("pcrs");
        record.memory_bytes = json.at("memory_bytes");
        if (const auto& window = json.at("clear_window_bytes"); !window.is_null()) {
            record.clear_window_bytes = window.get<std::uint64_t>();
        }
        record.cpus = json.at("cpus");
        record.boots = json.at("boots");
        record.shape = json.value("shape", "");
        record.own_vtpm = json.value("own_vtpm", false);
        if (json.contains("bundle")) {
            const auto& bundle = json.at("bundle");
            record.bundle = LaunchedBundle{.name = bundle.at("name"),
                                           .key = bundle.at("key"),
                                           .digest = bundle.at("digest"),
                                           .security_version = bundle.at("security_version")};
        }
        record.started_at = json.at("started_at");
        record.reboots = json.at("reboots");
        record.qmp_socket = json.at("qmp_socket");
        record.console_socket = json.at("console_socket");
        if (record.state == "ended") {
            record.ended_at = json.at("ended_at");
            record.end_reason = json.at("end_reason");
            record.end_detail = json.at("end_detail");
            record.exit_status = json.at("exit_status");
        }
        return record;
    } catch (const nlohmann::json::exception&) {
        return std::nullopt;
    }
}

std::vector<std::string> roots(const std::string& state_dir) {
    if (!state_dir.empty()) return {state_root(state_dir)};
    std::vector<std::string> all{state_root("")};
    if (all.front() != "/run/holdfast") all.emplace_back("/run/holdfast");
    return all;
}

std::vector<std::string> names_in(const std::string& root) {
    std::vector<std::string> names;
    const auto close = [](DIR* directory) { ::closedir(directory); };
    const std::unique_ptr<DIR, decltype(close)> directory{::opendir(root.c_str()), close};
    while (directory) {
        const dirent* const entry = ::readdir(directory.get());
        if (entry == nullptr) break;
        if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
    }
    std::ranges::sort(names);
    return names;
}

std::optional<FoundVm> look_at(const std::string& directory) {
    const auto text = read_small(directory + '/' + kRecord);
    if (!text) return std::nullopt;
    auto record = parse_record(*text);
    if (!record) return std::nullopt;
    FoundVm vm{.record = std::move(*record), .path = directory, .alive = is_locked(directory)};
    if (!vm.alive && vm.record.state != "ended") {
        vm.record.state = "ended";
        vm.record.end_reason = "killed";
        vm.record.end_detail = "its supervisor is gone without a word";
        vm.record.exit_status = 13;
        vm.record.ended_at = file_time(directory + '/' + kRecord);
    }
    return vm;
}

nlohmann::json text_or_null(const std::string& text) {
    return text.empty() ? nlohmann::json{} : nlohmann::json(text);
}

}  // namespace

namespace {

/// QMP writes names with hyphens, our JSON with underscores (design §7).
nlohmann::json in_snake_case(const nlohmann::json& value) {
    if (!value.is_object()) return value;
    nlohmann::json renamed = nlohmann::json::object();
    for (const auto& [key, member] : value.items()) {
        std::string name = key;
        std::ranges::replace(name, '-', '_');
        renamed[name] = in_snake_case(member);
    }
    return renamed;
}

}  // namespace

std::string to_json(const Record& record) { return to_json(record, nullptr); }

std::string to_json(const Record& record, const nlohmann::json& memory) {
    nlohmann::ordered_json json{
        {"name", record.name},
        {"state", record.state},
        {"pid", record.pid},
        {"tier", record.tier},
        // Tier `none` measures nothing and has no window; the keys are there for programs.
        {"launch_digest", text_or_null(record.launch_digest)},
        {"clear_window_bytes", nullptr},
        {"memory_bytes", record.memory_bytes},
        {"cpus", record.cpus},
        {"boots", record.boots},
        {"shape", record.shape},
        {"own_vtpm", record.own_vtpm},
        {"started_at", record.started_at},
        {"reboots", record.reboots},
        {"qmp_socket", record.qmp_socket},
        {"console_socket", record.console_socket},
    };
    if (record.clear_window_bytes) json["clear_window_bytes"] = *record.clear_window_bytes;
    if (!record.pcrs.empty()) json["pcrs"] = record.pcrs;
    if (record.bundle) {
        json["bundle"] = {{"name", record.bundle->name},
                          {"key", record.bundle->key},
                          {"digest", record.bundle->digest},
                          {"security_version", record.bundle->security_version}};
    }
    if (!memory.is_null()) json["memory_encryption"] = in_snake_case(memory);
    if (record.state == "ended") {
        json["ended_at"] = record.ended_at;
        json["end_reason"] = record.end_reason;
        json["end_detail"] = record.end_detail;
        json["exit_status"] = record.exit_status;
    }
    return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

StateDirectory StateDirectory::claim(const std::string& root, const std::string& name) {
    make_parents(root);
    make_directory(root);
    const std::string path = root + '/' + name;
    const std::string lock_path = path + '/' + kLock;
    for (int i = 0; i < kClaimTries; ++i) {
        make_directory(path);
        UniqueFd lock{::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
        if (!lock && errno == ENOENT) continue;  // its last owner has just removed it
        if (!lock) unusable(path, os_error("open lock"));
        const struct flock wanted = whole_file(F_WRLCK);
        if (::fcntl(lock.get(), F_OFD_SETLK, &wanted) < 0) {
            if (errno != EAGAIN && errno != EACCES) unusable(path, os_error("lock"));
            throw Failure{Code::NameInUse, fmt::format("a VM named '{}' is running already", name),
                          fmt::format("its lock {} is held", lock_path),
                          fmt::format("choose another name, or end it: holdfast stop {}", name)};
        }
        // The lock that we took may be one that its last owner unlinked in between.
        struct stat ours{};
        struct stat there{};
        if (::fstat(lock.get(), &ours) == 0 && ::stat(lock_path.c_str(), &there) == 0 &&
            ours.st_ino == there.st_ino && ours.st_dev == there.st_dev) {
            remove_files(path, false);
            return StateDirectory{path, std::move(lock)};
        }
    }
    unusable(path, input_error("other processes make and remove it all the time"));
}

StateDirectory::~StateDirectory() {
    if (path_.empty()) return;
    remove_files(path_, keep_);
    if (keep_) return;
    ::unlink(file(kLock).c_str());
    ::rmdir(path_.c_str());
}

void StateDirectory::write_record(const Record& record) const {
    const std::string text = to_json(record);
    const std::string fresh = file("vm.json.new");
    const UniqueFd fd{::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)};
    if (!fd) unusable(path_, os_error("open record"));
    if (const auto written = write_all(fd, std::as_bytes(std::span{text})); !written) {
        unusable(path_, written.error());
    }
    if (::rename(fresh.c_str(), file(kRecord).c_str()) < 0) unusable(path_, os_error("rename record"));
}

std::string state_root(const std::string& state_dir) {
    if (!state_dir.empty()) return state_dir + "/run";
    const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
    if (runtime != nullptr && runtime[0] == '/') return std::string{runtime} + "/holdfast";
    return "/run/holdfast";
}

std::vector<FoundVm> find_vms(const std::string& state_dir) {
    std::vector<FoundVm> found;
    for (const std::string& root : roots(state_dir)) {
        for (const std::string& name : names_in(root)) {
            if (auto vm = look_at(root + '/' + name)) found.push_back(std::move(*vm));
        }
    }
    return found;
}

FoundVm find_vm(const std::string& state_dir, const std::string& name) {
    check_name(name);
    for (const std::string& root : roots(state_dir)) {
        if (auto vm = look_at(root + '/' + name)) return std::move(*vm);
    }
    throw Failure{Code::NoSuchVm, fmt::format("there is no VM named '{}'", printable(name)),
                  fmt::format("nothing of that name is in {}", fmt::join(roots(state_dir), " or ")),
                  "holdfast list shows the names; --state-dir must be the one given to run"};
}

FoundVm find_living_vm(const std::string& state_dir, const std::string& name) {
    FoundVm vm = find_vm(state_dir, name);
    if (vm.alive) return vm;
    throw Failure{Code::NotRunning, fmt::format("the VM '{}' is not running", name),
                  fmt::format("it ended {} ago: {}", age_words(std::time(nullptr) - vm.record.ended_at),
                              vm.record.end_reason),
                  fmt::format("holdfast status {} and holdfast logs {} say more", name, name)};
}

void forget_old_vms(const std::string& root) {
    for (const std::string& name : names_in(root)) {
        const std::string path = root + '/' + name;
        const std::int64_t age = std::time(nullptr) - file_time(path + '/' + kRecord);
        if (age <= kKeepSeconds || is_locked(path)) continue;
        // Claiming takes the lock, and letting go of the claim removes everything.
        try {
            const StateDirectory old = StateDirectory::claim(root, name);
        } catch (const Failure&) {  // taken by a new VM meanwhile
        }
    }
}

}  // namespace holdfast::cli
