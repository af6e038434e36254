// SPDX-License-Identifier: Apache-2.0
#include "vtpm/channel/server.hpp"

#include <array>
#include <cerrno>
#include <cstring>

#include <unistd.h>

#include "sys/log.hpp"
#include "sys/socket.hpp"

namespace holdfast::vtpm::channel {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kReadBytes = 8192;
// How long a client may take to complete a request it has begun (QEMU sends some in two writes).
constexpr auto kRequestLimit = 2s;

template <typename T>
T body_as(const Request& request) {
    T value{};
    std::memcpy(&value, request.body.data(), std::min(sizeof value, request.body.size()));
    return value;
}

}  // namespace

Result<std::unique_ptr<Server>> Server::create(Sockets sockets, Service& service, const UniqueFd& handover) {
    std::unique_ptr<Server> server{
        new Server{std::move(sockets), service, HF_TRY(Poller::create()), HF_TRY(EventFd::create())}};
    Poller& poller = server->poller_;
    HF_TRY(poller.add(handover, EPOLLIN, static_cast<std::uint64_t>(Source::Handover)));
    HF_TRY(poller.add(server->data_ended_.fd(), EPOLLIN, static_cast<std::uint64_t>(Source::Data)));
    if (server->sockets_.quotes) {
        HF_TRY(set_nonblocking(server->sockets_.quotes));
        HF_TRY(poller.add(server->sockets_.quotes, EPOLLIN, static_cast<std::uint64_t>(Source::Quotes)));
    }
    if (server->sockets_.listener) {
        HF_TRY(set_nonblocking(server->sockets_.listener));
        HF_TRY(poller.add(server->sockets_.listener, EPOLLIN, static_cast<std::uint64_t>(Source::Listener)));
    } else {
        HF_TRY(set_nonblocking(server->sockets_.control));
    }
    return server;
}

std::vector<int> Server::descriptors() const {
    std::vector<int> all{poller_.fd().get(), data_ended_.fd().get()};
    for (const UniqueFd* const fd :
         {&sockets_.listener, &sockets_.control, &sockets_.data, &sockets_.quotes}) {
        if (*fd) all.push_back(fd->get());
    }
    return all;
}

Result<void> Server::run() {
    if (sockets_.control) {
        HF_TRY(adopt(std::move(sockets_.control)));
        if (sockets_.data) HF_TRY(set_data(std::move(sockets_.data)));
    }
    while (!over_) {
        std::array<epoll_event, 8> room;
        for (const epoll_event& event : HF_TRY(poller_.wait(room, timeout_ms()))) {
            HF_TRY(handle(static_cast<Source>(event.data.u64)));
        }
        if (deadline_ && Clock::now() >= *deadline_) {
            HF_TRY(judge(peer_fault("a client does not complete its request")));
        }
    }
    return drop_client(nullptr);
}

int Server::timeout_ms() const noexcept {
    if (!deadline_) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline_ - Clock::now()).count();
    return static_cast<int>(std::max<std::int64_t>(left, 0));
}

Result<void> Server::handle(Source source) {
    switch (source) {
        case Source::Handover: over_ = true; return {};  // the launcher says nothing after the launch
        case Source::Listener: return accept_client();
        case Source::Client: return client_bytes();
        case Source::Quotes: return accept_quoted();
        case Source::Quoted: return answer_quoted();
        case Source::Data: {
            if (!data_ended_.drain() || !data_ || !data_->has_ended()) return {};
            if (!data_->outcome()) return judge(data_->outcome().error());
            return {};  // hung up: the control channel follows, or brings another
        }
    }
    return {};
}

// ---- clients come and go

Result<void> Server::accept_client() {
    auto client = accept_unix(sockets_.listener);
    if (!client) {
        const int code = client.error().os_errno;
        if (code == EAGAIN || code == ECONNABORTED || code == EINTR) return {};
        return client.error();
    }
    return adopt(std::move(*client));
}

Result<void> Server::adopt(UniqueFd client) {
    // The next one waits in the listener's queue until this one has gone.
    if (sockets_.listener) HF_TRY(poller_.remove(sockets_.listener));
    client_ = std::move(client);
    return poller_.add(client_, EPOLLIN, static_cast<std::uint64_t>(Source::Client));
}

Result<void> Server::drop_client(const Error* why) {
    if (!client_) return {};
    if (why != nullptr) log::warn("vtpm.client_dropped", *why);
    HF_TRY(poller_.remove(client_));
    data_.reset();
    data_ended_.drain();
    client_.reset();
    input_.clear();
    input_fds_.clear();
    deadline_.reset();
    leave_client_ = false;
    HF_TRY(service_.client_gone());
    if (sockets_.listener) {
        return poller_.add(sockets_.listener, EPOLLIN, static_cast<std::uint64_t>(Source::Listener));
    }
    over_ = true;
    return {};
}

Result<void> Server::judge(const Error& error) {
    if (const auto fatal = service_.fatal()) return *fatal;
    return drop_client(&error);
}

Result<void> Server::set_data(UniqueFd data) {
    data_ = HF_TRY(DataPort::create(std::move(data), service_, data_ended_));
    return {};
}

// ---- the host, who wants a quote

Result<void> Server::accept_quoted() {
    auto client = accept_unix(sockets_.quotes);
    if (!client) return {};  // it has gone again
    HF_TRY(poller_.remove(sockets_.quotes));
    quoted_ = std::move(*client);
    return poller_.add(quoted_, EPOLLIN, static_cast<std::uint64_t>(Source::Quoted));
}

Result<void> Server::answer_quoted() {
    const auto message = receive_message(quoted_, kMaxQuoteRequest);
    if (message && !message->bytes.empty()) {
        const auto nonce = decode_quote_request(message->bytes);
        const auto quote = nonce ? service_.quote(*nonce) : Result<OwnQuote>{nonce.error()};
        // A state that cannot be made durable ends the process; what else is wrong is the asker's to know.
        if (const auto fatal = service_.fatal()) return *fatal;
        if (const auto sent = send_message(quoted_, encode_quote_answer(quote)); !sent)
            log::warn("vtpm.quote_lost", sent.error());
    }
    HF_TRY(poller_.remove(quoted_));
    quoted_.reset();
    return poller_.add(sockets_.quotes, EPOLLIN, static_cast<std::uint64_t>(Source::Quotes));
}

// ---- requests

Result<void> Server::client_bytes() {
    auto message = receive_message(client_, kReadBytes);
    if (!message) {
        if (message.error().os_errno == EAGAIN) return {};
        return judge(message.error());
    }
    if (message->bytes.empty()) {
        // Half a request is worth a line; a goodbye is not.
        const Error half = peer_fault("a client left in the middle of a request");
        return drop_client(input_.empty() ? nullptr : &half);
    }
    input_.insert(input_.end(), message->bytes.begin(), message->bytes.end());
    for (UniqueFd& fd : message->fds) input_fds_.push_back(std::move(fd));
    if (input_fds_.size() > 1) return judge(peer_fault("a client sends more than one descriptor"));
    if (const auto answered = answer_requests(); !answered) return judge(answered.error());
    return leave_client_ ? drop_client(nullptr) : Result<void>{};
}

Result<void> Server::answer_requests() {
    const auto request = HF_TRY(parse(input_));
    if (!request) {
        if (!deadline_) deadline_ = Clock::now() + kRequestLimit;
        return {};
    }
    deadline_.reset();
    HF_TRY(answer(*request));
    // Clients wait for an answer before they ask again, so more than one request is a breach.
    const bool more = request->size < input_.size();
    input_.clear();
    input_fds_.clear();
    if (more) return peer_fault("a client does not wait for its answer");
    return {};
}

Result<void> Server::answer(const Request& request) {
    switch (request.command) {
        case Command::GET_CAPABILITY: return service_.capability(client_);
        case Command::INIT: return service_.init(client_);
        case Command::SHUTDOWN: leave_client_ = true; return service_.stop(client_);
        case Command::GET_TPMESTABLISHED: return service_.established(client_);
        case Command::SET_LOCALITY:
            return service_.set_locality(client_, body_as<wire::Locality>(request).locality.get());
        case Command::HASH_START: return service_.hash_start(client_);
        case Command::HASH_DATA:
            return service_.hash_data(client_, request.body.subspan(sizeof(wire::HashData)));
        case Command::HASH_END: return service_.hash_end(client_);
        case Command::CANCEL_TPM_CMD: return service_.cancel_command(client_);
        case Command::RESET_TPMESTABLISHED:
            return service_.reset_established(client_, body_as<wire::Locality>(request).locality.get());
        case Command::GET_STATEBLOB: {
            const auto body = body_as<wire::GetBlob>(request);
            return service_.get_blob(client_, body.type.get(), body.offset.get());
        }
        case Command::SET_STATEBLOB:
            return service_.set_blob(client_, body_as<wire::SetBlob>(request).type.get(),
                                     request.body.subspan(sizeof(wire::SetBlob)));
        case Command::STOP: return service_.stop(client_);
        case Command::GET_CONFIG: return service_.config(client_);
        case Command::SET_DATAFD: {
            const bool hung_up = data_ && data_->has_ended();
            if (hung_up) data_.reset();
            if (data_ || input_fds_.size() != 1) return service_.answer(client_, result::IOERROR);
            HF_TRY(set_data(std::move(input_fds_.front())));
            return service_.answer(client_, result::SUCCESS);
        }
        case Command::SET_BUFFERSIZE:
            return service_.buffer_size(client_, body_as<wire::BufferSize>(request).size.get());
        case Command::LOCK_STORAGE:
            return service_.lock_storage(client_, body_as<wire::LockStorage>(request).retries.get());
        case Command::STORE_VOLATILE:
        case Command::GET_INFO: break;
    }
    return service_.answer(client_, result::BAD_ORDINAL);
}

}  // namespace holdfast::vtpm::channel
