// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/channel_verb.hpp"

#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <poll.h>

#include "guest_agent/agent/evidence.hpp"
#include "guest_agent/agent/exchange.hpp"
#include "guest_agent/agent/peer_policy.hpp"
#include "guest_agent/agent/vsock.hpp"
#include "guest_agent/call/services.hpp"
#include "sys/log.hpp"

namespace holdfast::agent {
namespace {

using channel::Deadline;
using channel::TlsIdentity;
using channel::TlsStream;
using Clock = std::chrono::steady_clock;

constexpr const char* kUsage = "usage: holdfast-agent channel listen|connect -- PROGRAM [ARGUMENT...]";
// The other guest may still be on its way; a host that delays delays for ever.
constexpr std::chrono::seconds kPatience{600};
constexpr std::chrono::seconds kHandshake{30};
constexpr std::chrono::seconds kPause{2};

Result<void> wait_for_one(const UniqueFd& listener, Deadline deadline) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd entry{.fd = listener.get(), .events = POLLIN, .revents = 0};
    const int ready = left <= 0 ? 0 : ::poll(&entry, 1, static_cast<int>(left));
    if (ready < 0) return os_error("poll");
    if (ready == 0) return Error{Fault::Os, ETIMEDOUT, "wait for the other guest of a channel"};
    return {};
}

/// The first with which TLS comes about: its host may connect as often as it likes, and be nobody.
Result<TlsStream> accept_peer(const TlsIdentity& own, Deadline deadline) {
    const UniqueFd listener = HF_TRY(listen_vsock(call::kChannelPort));
    for (;;) {
        HF_TRY(wait_for_one(listener, deadline));
        auto wire = accept_host(listener);
        if (!wire) continue;
        auto stream = TlsStream::accept(std::move(*wire), own, Clock::now() + kHandshake);
        if (stream) return stream;
        log::warn("no_channel_yet", stream.error());
    }
}

Result<TlsStream> connect_peer(const TlsIdentity& own, Deadline deadline) {
    for (;;) {
        auto wire = connect_host(call::kChannelPort);
        auto stream = wire
                          ? TlsStream::connect(std::move(*wire), own, std::nullopt, Clock::now() + kHandshake)
                          : Result<TlsStream>{wire.error()};
        if (stream || Clock::now() >= deadline) return stream;
        std::this_thread::sleep_for(kPause);
    }
}

}  // namespace

Result<void> channel_verb(std::span<char*> words) {
    if (words.size() < 3 || std::string_view{words[1]} != "--") return input_error(kUsage);
    const std::string_view side = words[0];
    if (side != "listen" && side != "connect") return input_error(kUsage);
    const Config config = HF_TRY(read_config());
    const auto policy = HF_TRY(PeerPolicy::create(config, {}));
    const Digest256 agreed = policy->digest();
    const channel::Appraisal appraisal{.make = make_evidence,
                                       .judge =
                                           [&policy](const Digest256& binding, Bytes evidence) {
                                               return policy->judge_evidence(binding, evidence,
                                                                             "the other guest of a channel");
                                           },
                                       .context = {agreed.begin(), agreed.end()},
                                       .lifetime = config.channel_renewal + config.channel_grace};
    const auto own = HF_TRY(TlsIdentity::create());
    const Deadline deadline = Clock::now() + kPatience;
    TlsStream stream = HF_TRY(side == "listen" ? accept_peer(own, deadline) : connect_peer(own, deadline));
    auto attested =
        HF_TRY(channel::Channel::create(std::move(stream), own, appraisal, Clock::now() + kPatience));
    log::info("channel_attested", {{"side", side}});
    return exchange(attested, {words.begin() + 2, words.end()}, config.channel_renewal);
}

}  // namespace holdfast::agent
