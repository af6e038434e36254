// SPDX-License-Identifier: Apache-2.0
#include "cli/device_audit.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <filesystem>

#include <fcntl.h>
#include <fmt/chrono.h>
#include <sys/inotify.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "cli/error.hpp"
#include "cli/files.hpp"
#include "cli/output.hpp"
#include "cli/poll_set.hpp"
#include "cli/soon.hpp"
#include "iommu/domain.hpp"

namespace holdfast::cli {
namespace {

std::string path_of(const std::string& state_dir) {
    return (state_dir.empty() ? "/var/lib/holdfast" : state_dir) + "/devices/audit.log";
}

[[noreturn]] void unusable(const std::string& path, std::string why) {
    throw Failure{
        Code::AuditLog, fmt::format("the audit log {} cannot be used", printable(path)), std::move(why),
        "run as root or give a --state-dir; one that is full or was changed is moved away, and kept"};
}
[[noreturn]] void unusable(const std::string& path, const Error& error) { unusable(path, reason_of(error)); }

iommu::AuditLog open_log(const std::string& path) {
    const std::string directory = std::filesystem::path{path}.parent_path().string();
    std::error_code failed;
    std::filesystem::create_directories(directory, failed);
    if (!failed) std::filesystem::permissions(directory, std::filesystem::perms::owner_all, failed);
    std::optional<Result<iommu::AuditLog>> log;
    // Another VM's supervisor holds the lock for as long as it writes some lines.
    static_cast<void>(soon([&] {
        UniqueFd file{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
        if (!file) unusable(path, os_error("open"));
        log.emplace(iommu::AuditLog::open(std::move(file)));
        return log->has_value() || log->error().os_errno != EWOULDBLOCK;
    }));
    if (!*log) unusable(path, log->error());
    return std::move(**log);
}

std::vector<iommu::AuditLine> read_lines(const std::string& path, const UniqueFd& file) {
    const auto text = read_text(file, iommu::AuditLog::kMostBytes);
    if (!text) unusable(path, text.error());
    auto lines = iommu::read_audit(*text);
    if (!lines) unusable(path, lines.error());
    return std::move(*lines);
}

void print_line(const iommu::AuditLine& line, bool json) {
    if (json) {
        nlohmann::ordered_json object;
        for (const auto& [key, value] : line.fields) object[key] = value;
        object["seq"] = line.number;
        object["at"] = line.at_ms;
        object["chain"] = line.chain;
        write_text(1, object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
        return;
    }
    const auto seconds = static_cast<std::time_t>(line.at_ms / 1000);
    std::string text = fmt::format("{:%Y-%m-%d %H:%M:%S}Z", fmt::gmtime(seconds));
    for (const auto& [key, value] : line.fields) {
        if (key == "seq" || key == "at") continue;
        text += key == "event" ? ' ' + value : fmt::format(" {}={}", key, value);
    }
    print("{}\n", printable(text));
}

void wait_for_change(const UniqueFd& events) {
    PollSet polls;
    polls.add(events.get(), POLLIN);
    polls.wait(std::chrono::milliseconds{-1});
    std::array<char, 4096> ignored{};
    while (::read(events.get(), ignored.data(), ignored.size()) > 0) {
    }
}

}  // namespace

DeviceAudit::DeviceAudit(const std::string& state_dir) : path_{path_of(state_dir)}, log_{open_log(path_)} {}

void DeviceAudit::note(std::string_view what, std::string_view device, std::string_view why) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const auto at = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
    const auto noted = log_.append({.what = what, .device = device, .why = why, .mapping = {}},
                                   static_cast<std::uint64_t>(at));
    if (!noted) unusable(path_, noted.error());
}

void DeviceAudit::note_all(std::span<const vmm::DeviceEvent> events,
                           const std::vector<vmm::DeviceShape>& devices, std::uint64_t left_out) {
    using Kind = vmm::DeviceEvent::Kind;
    log_.leave_out(left_out);
    for (const vmm::DeviceEvent& event : events) {
        if (event.device >= devices.size()) continue;
        const vmm::DeviceShape& device = devices[event.device];
        std::string_view what;
        switch (event.kind) {
            case Kind::Granted: what = "granted"; break;
            case Kind::Refused: what = "refused"; break;
            case Kind::Revoked: what = "revoked"; break;
        }
        const auto noted = log_.append(
            {.what = what,
             .device = device.address,
             .why = event.kind == Kind::Refused ? iommu::refusal_name(static_cast<iommu::Refusal>(event.why))
                                                : std::string_view{},
             .mapping =
                 iommu::Mapping{.start = iommu::Iova{event.iova},
                                .size = event.size,
                                .target = GuestAddr{event.target},
                                .rule = device.rule + 1,
                                .access = event.writable ? iommu::Access::ReadWrite : iommu::Access::Read}},
            event.at_ms);
        if (!noted) unusable(path_, noted.error());
    }
}

int show_audit(const DeviceOptions& options, const std::string& state_dir) {
    const std::string path = path_of(state_dir);
    const UniqueFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!file && errno == ENOENT && !options.follow) {
        if (!options.json) print("nothing was recorded yet\n");
        return 0;
    }
    if (!file) unusable(path, os_error("open"));
    const UniqueFd events{::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
    if (options.follow && (!events || ::inotify_add_watch(events.get(), path.c_str(), IN_MODIFY) < 0)) {
        expect(Result<void>{os_error("inotify")});
    }
    std::size_t shown = 0;
    for (;;) {
        const auto lines = read_lines(path, file);
        for (; shown < lines.size(); ++shown) print_line(lines[shown], options.json);
        if (!options.follow) return 0;
        wait_for_change(events);
    }
}

}  // namespace holdfast::cli
