// SPDX-License-Identifier: Apache-2.0
#include "cli/agent_serve.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/attest.hpp"
#include "cli/connections.hpp"
#include "cli/error.hpp"
#include "cli/inet_address.hpp"
#include "cli/output.hpp"
#include "cli/relay.hpp"
#include "cli/socket_file.hpp"
#include "cli/supervisor.hpp"
#include "guest_agent/call/server.hpp"
#include "guest_agent/call/services.hpp"
#include "sys/poller.hpp"
#include "sys/rate.hpp"
#include "sys/socket.hpp"
#include "sys/thread.hpp"

namespace holdfast::cli {
namespace {

namespace call = agent::call;
using agent::Bytes;

constexpr std::size_t kMaxBlobs = 1024;  ///< a guest must not fill the host's disk: with kMaxBody, 1 GiB
constexpr std::size_t kMaxRelayed = 4;   ///< connections to the broker, or another guest, at a time
/// Evidence keeps the host's TPM busy, which all VMs share: so many at once, then one a second.
constexpr std::uint64_t kEvidenceBurst = 16;
constexpr std::uint64_t kToldBurst = 20;  // then one a second

constexpr std::string_view kNew = ".new-";  // and the number of the process that writes it

/// Blobs of a guest as files of one folder. Names have no '/' and no dot in front (services.hpp).
class BlobFolder {
public:
    explicit BlobFolder(std::string path) : path_{std::move(path)} { remove_leftovers(); }

    [[nodiscard]] call::Answer get(Bytes body) const {
        if (path_.empty()) return call::refusal::kNotAllowed;
        const auto name = call::decode_blob_name(body);
        if (!name) return call::refusal::kMalformed;
        const UniqueFd file{::open((path_ + '/' + *name).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
        if (!file) return errno == ENOENT ? call::refusal::kNotFound : call::refusal::kFailed;
        const auto size = file_size(file);
        if (!size || *size > call::kMaxBody) return call::refusal::kFailed;
        std::vector<std::byte> bytes(*size);
        if (!pread_exact(file, bytes, 0)) return call::refusal::kFailed;
        return bytes;
    }
    [[nodiscard]] call::Answer put(Bytes body) const {
        if (path_.empty()) return call::refusal::kNotAllowed;
        const auto blob = call::decode_named_blob(body);
        if (!blob) return call::refusal::kMalformed;
        const std::string path = path_ + '/' + blob->name;
        if (::access(path.c_str(), F_OK) != 0 && is_full()) return call::refusal::kNoRoom;
        // Its own: servers of several guests may share the folder, and put at the same moment.
        const std::string fresh = fmt::format("{}/{}{}", path_, kNew, ::getpid());
        const UniqueFd file{
            ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)};
        if (!file || !write_all(file, blob->bytes) || ::fdatasync(file.get()) < 0 ||
            ::rename(fresh.c_str(), path.c_str()) < 0) {
            ::unlink(fresh.c_str());
            return call::refusal::kFailed;
        }
        return std::vector<std::byte>{};
    }
    [[nodiscard]] call::Answer drop(Bytes body) const {
        if (path_.empty()) return call::refusal::kNotAllowed;
        const auto name = call::decode_blob_name(body);
        if (!name) return call::refusal::kMalformed;
        if (::unlink((path_ + '/' + *name).c_str()) < 0 && errno != ENOENT) return call::refusal::kFailed;
        return std::vector<std::byte>{};
    }

private:
    /// Of processes that were killed in the middle of a put. A number that somebody else has by now stays
    /// until the next time.
    void remove_leftovers() const {
        std::error_code wrong;
        for (const auto& file : std::filesystem::directory_iterator{path_, wrong}) {
            const std::string name = file.path().filename();
            if (!name.starts_with(kNew)) continue;
            const std::optional<pid_t> writer = process_of(std::string_view{name}.substr(kNew.size()));
            if (writer && ::kill(*writer, 0) < 0 && errno == ESRCH) ::unlink(file.path().c_str());
        }
    }
    static std::optional<pid_t> process_of(std::string_view number) {
        pid_t pid = 0;
        const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), pid);
        if (error != std::errc{} || end != number.data() + number.size() || pid <= 0) return std::nullopt;
        return pid;
    }
    [[nodiscard]] bool is_full() const {
        std::error_code wrong;
        const auto files = std::filesystem::directory_iterator{path_, wrong};
        return wrong || std::distance(begin(files), end(files)) >= static_cast<std::ptrdiff_t>(kMaxBlobs);
    }
    std::string path_;
};

/// The host's half of what a guest shows: quotes of the host's TPM and anchor around the guest's own.
class EvidenceDesk {
public:
    EvidenceDesk(std::string vm, std::string state_dir)
        : vm_{std::move(vm)}, state_dir_{std::move(state_dir)} {}

    [[nodiscard]] call::Answer answer(Bytes body) {
        if (vm_.empty()) return call::refusal::kNotAllowed;
        auto ask = call::decode_evidence_ask(body);
        if (!ask) return call::refusal::kMalformed;
        if (allowed_.take(1, TokenBucket::Clock::now()) == 0) return call::refusal::kNoRoom;
        try {
            auto evidence =
                collect_evidence(vm_, {ask->nonce.begin(), ask->nonce.end()},
                                 {.vtpm_quote = std::move(ask->quote), .cpu = std::nullopt}, state_dir_);
            if (evidence.size() <= call::kMaxBody) return evidence;
            print_error("holdfast: the evidence of '{}' has {} bytes: more than a call carries\n",
                        printable(vm_), evidence.size());
        } catch (const Failure& failure) {
            failure.print();
        }
        return call::refusal::kFailed;
    }

private:
    std::string vm_;
    std::string state_dir_;
    TokenBucket allowed_{1, kEvidenceBurst, TokenBucket::Clock::now()};
};

class Desk final : public call::Handler {
public:
    Desk(const AgentOptions& options, const std::string& state_dir)
        : blobs_{options.blobs}, evidence_{options.vm, state_dir} {}

    [[nodiscard]] call::Answer answer(const call::Request& request) override {
        if (request.service != call::host_service::kNumber) return call::refusal::kUnknownMethod;
        const Bytes body = request.body.bytes();
        switch (request.method) {
            case call::host_service::kEcho: return std::vector<std::byte>{body.begin(), body.end()};
            case call::host_service::kGetBlob: return blobs_.get(body);
            case call::host_service::kPutBlob: return blobs_.put(body);
            case call::host_service::kDropBlob: return blobs_.drop(body);
            case call::host_service::kEvidence: return evidence_.answer(body);
            default: return call::refusal::kUnknownMethod;
        }
    }

private:
    BlobFolder blobs_;
    EvidenceDesk evidence_;
};

/// Where the VM's vsock looks for a port that the guest connects to.
struct Door {
    UniqueFd listener;
    SocketFile file;
};
Door open_door(const std::string& vsock, std::uint32_t port) {
    const std::string path = fmt::format("{}_{}", vsock, port);
    auto listener = listen_anew(path, SOCK_STREAM);
    if (!listener) {
        throw Failure{Code::Vsock, fmt::format("'{}' cannot be made", printable(path)),
                      reason_of(listener.error()), "another holdfast agent serve may run for this VM"};
    }
    return {.listener = std::move(*listener), .file = SocketFile{path}};
}

/// A way for the guest's bytes, and where it leads.
class Way {
public:
    using Carry = std::function<Result<void>(const UniqueFd& guest)>;
    Way(Door door, const char* where, Carry carry)
        : door_{std::move(door)}, where_{where}, carry_{std::move(carry)} {}
    [[nodiscard]] const UniqueFd& listener() const noexcept { return door_.listener; }
    void carry_next() {
        UniqueFd guest{::accept4(door_.listener.get(), nullptr, nullptr, SOCK_CLOEXEC)};
        if (!guest) return;
        const bool taken = carried_.take(std::move(guest), [this](const UniqueFd& socket) {
            const auto done = carry_(socket);
            if (!done && may_tell())
                print_error("holdfast: a connection to {} has ended: {}\n", where_, reason_of(done.error()));
        });
        if (!taken && may_tell())
            print_error("holdfast: the guest has {} connections to {} already\n", kMaxRelayed, where_);
    }

private:
    /// The guest decides how often a way fails.
    bool may_tell() HF_EXCLUDES(lock_) {
        const Lock hold{lock_};
        return told_.take(1, TokenBucket::Clock::now()) != 0;
    }

    Mutex lock_;
    TokenBucket told_ HF_GUARDED_BY(lock_){1, kToldBurst, TokenBucket::Clock::now()};
    Door door_;
    const char* where_;
    Carry carry_;
    Connections carried_{kMaxRelayed};  // last: its threads use the others
};

void expect_folder(const std::string& path) {
    struct stat info{};
    if (path.empty() || (::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode))) return;
    throw Failure{Code::Value, fmt::format("--blobs '{}' is no folder", printable(path)),
                  "blobs of the guest are files in it", "make it first: mkdir"};
}

}  // namespace

int serve_guest_calls(const AgentOptions& options, const std::string& state_dir) {
    expect_folder(options.blobs);
    enum Token : std::uint64_t { kEnded, kBroker, kPeer, kCalls };
    const Signals signals;
    Poller poller = expect(Poller::create());
    expect(poller.add(signals.fd(), EPOLLIN, kEnded));

    Door calls = open_door(options.vsock, call::kHostPort);
    Desk desk{options, state_dir};
    call::Server server{std::move(calls.listener), accept_unix, poller, desk, kCalls};
    expect(server.start());

    std::optional<Way> to_broker;
    if (!options.broker.empty()) {
        const sockaddr_in broker = inet_address("--broker", options.broker);
        to_broker.emplace(open_door(options.vsock, call::kBrokerPort), "the broker",
                          [broker](const UniqueFd& guest) { return carry_to_broker(guest, broker); });
        expect(poller.add(to_broker->listener(), EPOLLIN, kBroker));
    }
    std::optional<Way> to_peer;
    if (!options.peer.empty()) {
        to_peer.emplace(open_door(options.vsock, call::kChannelPort), "the other guest",
                        [&options](const UniqueFd& guest) { return carry_to_guest(guest, options.peer); });
        expect(poller.add(to_peer->listener(), EPOLLIN, kPeer));
    }
    print("ready\n");
    std::array<epoll_event, 8> events{};
    for (;;) {
        for (const epoll_event& event : expect(poller.wait(events, -1))) {
            if (event.data.u64 == kEnded) return 0;
            if (event.data.u64 == kBroker) to_broker->carry_next();
            else if (event.data.u64 == kPeer) to_peer->carry_next();
            else server.event(event.data.u64, event.events);
        }
    }
}

}  // namespace holdfast::cli
