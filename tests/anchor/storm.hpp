// SPDX-License-Identifier: Apache-2.0
// Many vTPMs of one anchor at once, as the anchor sees them: a socket each.
#pragma once

#include <array>
#include <string>
#include <variant>
#include <vector>

#include "bench/must.hpp"
#include "sys/poller.hpp"
#include "sys/socket.hpp"
#include "vtpm/anchor/protocol.hpp"

namespace holdfast::anchor {

inline VmId vm_id(std::size_t number) {
    VmId vm{};
    vm[0] = static_cast<std::byte>(number);
    vm[1] = static_cast<std::byte>(number >> 8);
    return vm;
}

class Storm {
public:
    /// Each connects to the anchor that listens on `path`, and starts.
    Storm(const std::string& path, std::size_t vtpms) : versions_(vtpms) {
        for (std::size_t i = 0; i < vtpms; ++i) {
            sockets_.push_back(must(connect_unix(path, SOCK_SEQPACKET)));
            must(send_message(sockets_[i], encode(Ask{StartAsk{.vm = vm_id(i), .instance = vm_id(i)}})));
        }
        for (std::size_t i = 0; i < vtpms; ++i) {
            check(std::holds_alternative<Granted>(answer(i)), "start denied");
            must(poller_.add(sockets_[i], EPOLLIN, i));
        }
    }

    /// How often this vTPM has stored.
    [[nodiscard]] std::uint64_t version(std::size_t vtpm) const { return versions_[vtpm]; }

    /// Asks the anchor to commit a vTPM's next version. Not again before answered() has named the vTPM.
    void store(std::size_t vtpm) {
        const State next{.version = ++versions_[vtpm], .permanent = {std::byte{1}}, .volatile_state = {}};
        must(send_message(sockets_[vtpm], encode(Ask{CommitAsk{.next = next}})));
    }

    /// Waits for some answer; those whose store is committed. An answer that denies ends the program.
    std::vector<std::size_t> answered() {
        std::array<epoll_event, 1024> events;
        std::vector<std::size_t> who;
        for (const epoll_event& event : must(poller_.wait(events, -1))) {
            check(std::holds_alternative<Committed>(answer(event.data.u64)), "commit denied");
            who.push_back(event.data.u64);
        }
        return who;
    }

private:
    Answer answer(std::size_t vtpm) {
        return must(decode_answer(must(receive_message(sockets_[vtpm], kMaxAnswerBytes)).bytes));
    }

    std::vector<UniqueFd> sockets_;
    std::vector<std::uint64_t> versions_;
    Poller poller_ = must(Poller::create());
};

}  // namespace holdfast::anchor
