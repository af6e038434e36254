// SPDX-License-Identifier: Apache-2.0
#include "iommu/audit.hpp"

#include <array>
#include <charconv>
#include <span>

#include <sys/file.h>
#include <unistd.h>

#include "sys/sha2.hpp"

namespace holdfast::iommu {
namespace {

constexpr std::string_view kChainField = " chain=";
constexpr std::size_t kChainDigits = 64;

std::string link(std::string_view before, std::string_view line) {
    Sha256 hash;
    hash.update(std::as_bytes(std::span{before}));
    hash.update(std::as_bytes(std::span{line}));
    const auto digest = hash.finish();
    return hex(digest);
}

/// Words become part of a line: nothing in them may look like another field.
std::string safe(std::string_view word) {
    std::string text{word.substr(0, 64)};
    for (char& c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && c != '-' && c != ':' && c != '.') c = '_';
    }
    return text;
}

void add_number(std::string& line, std::string_view key, std::uint64_t value, int base = 10) {
    std::array<char, 24> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, base).ptr;
    line += line.empty() ? "" : " ";
    line += key;
    line += base == 16 ? "=0x" : "=";
    line.append(digits.data(), end);
}

std::string line_of(const AuditEvent& event, std::uint64_t number, std::uint64_t at, std::uint64_t left_out) {
    std::string line;
    add_number(line, "seq", number);
    add_number(line, "at", at);
    line += " event=" + safe(event.what) + " device=" + safe(event.device);
    if (event.mapping) {
        add_number(line, "iova", event.mapping->start.value(), 16);
        add_number(line, "size", event.mapping->size, 16);
        add_number(line, "target", event.mapping->target.value(), 16);
        line += event.mapping->access == Access::Read ? " access=read" : " access=read-write";
        add_number(line, "rule", event.mapping->rule);
    }
    if (!event.why.empty()) line += " why=" + safe(event.why);
    if (left_out != 0) add_number(line, "left_out", left_out);
    return line;
}

std::uint64_t number_in(std::string_view text) noexcept {
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

AuditLine take_apart(std::string_view line) {
    AuditLine parts;
    while (!line.empty()) {
        const std::string_view field = line.substr(0, line.find(' '));
        line.remove_prefix(std::min(line.size(), field.size() + 1));
        const std::size_t equals = field.find('=');
        if (equals == std::string_view::npos) continue;
        parts.fields.emplace_back(field.substr(0, equals), field.substr(equals + 1));
        if (field.starts_with("seq=")) parts.number = number_in(field.substr(equals + 1));
        if (field.starts_with("at=")) parts.at_ms = number_in(field.substr(equals + 1));
    }
    return parts;
}

}  // namespace

Result<std::vector<AuditLine>> read_audit(std::string_view text) {
    std::vector<AuditLine> lines;
    std::string chain(kChainDigits, '0');
    for (std::size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
        const std::string_view whole = text.substr(0, end);
        text.remove_prefix(end + 1);
        const std::size_t field = whole.rfind(kChainField);
        if (field == std::string_view::npos) return input_error("a line of the audit log has no chain");
        const std::string_view said = whole.substr(field + kChainField.size());
        const std::string_view line = whole.substr(0, field);
        chain = link(chain, line);
        AuditLine parts = take_apart(line);
        if (said != chain || parts.number != lines.size()) {
            return input_error("the audit log was changed: its chain is broken");
        }
        parts.chain = chain;
        lines.push_back(std::move(parts));
    }
    return lines;
}

Result<AuditLog> AuditLog::open(UniqueFd file) {
    if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) return os_error("lock the audit log");
    const auto size = HF_TRY(file_size(file));
    if (size > kMostBytes) return input_error("the audit log is larger than it can have become");
    std::string text(size, '\0');
    HF_TRY(pread_exact(file, std::as_writable_bytes(std::span{text}), 0));
    const auto lines = HF_TRY(read_audit(text));
    AuditLog log{std::move(file)};
    log.bytes_ = text.rfind('\n') + 1;  // npos + 1 is 0
    log.next_ = lines.size();
    if (!lines.empty()) log.chain_ = lines.back().chain;
    if (log.bytes_ != size && ::ftruncate(log.file_.get(), static_cast<off_t>(log.bytes_)) != 0) {
        return os_error("take an unfinished line off the audit log");
    }
    return log;
}

Result<void> AuditLog::append(const AuditEvent& event, std::uint64_t at) {
    std::string line = line_of(event, next_, at, left_out_);
    std::string chain = link(chain_, line);
    line += std::string{kChainField} + chain + '\n';
    if (line.size() > kMostBytes - bytes_) {
        ++left_out_;
        return input_error("the audit log is full: move it away");
    }
    const ssize_t put = ::pwrite(file_.get(), line.data(), line.size(), static_cast<off_t>(bytes_));
    if (put != static_cast<ssize_t>(line.size())) return os_error("write the audit log");
    bytes_ += line.size();
    chain_ = std::move(chain);
    ++next_;
    left_out_ = 0;
    return {};
}

Result<void> AuditLog::append_limited(const AuditEvent& event, std::uint64_t at,
                                      TokenBucket::Clock::time_point now) {
    if (budget_.take(1, now) == 0) {
        ++left_out_;
        return {};
    }
    return append(event, at);
}

}  // namespace holdfast::iommu
