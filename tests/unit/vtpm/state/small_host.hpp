// SPDX-License-Identifier: Apache-2.0
// What a worker lives among: an anchor, a state service and the launcher's door, each the real code in a
// thread of its own behind real sockets, over a world (anchor/world.hpp) whose calls can be made to fail and
// wires whose messages can be lost.
#pragma once

#include <array>
#include <atomic>
#include <filesystem>
#include <list>
#include <string>
#include <thread>

#include <fcntl.h>
#include <poll.h>

#include "sys/socket.hpp"
#include "tests/unit/vtpm/anchor/world.hpp"
#include "vtpm/anchor/clerk.hpp"
#include "vtpm/anchor/server.hpp"
#include "vtpm/store/session.hpp"
#include "vtpm/store/slots.hpp"
#include "vtpm/store/stream.hpp"

namespace holdfast::vtpm::test {

/// One question in a host's life whose wire is cut, before the question arrived or before the answer did.
struct Cut {
    std::atomic<int> at = -1;
    bool answer = false;
    std::atomic<int> seen = 0;
    [[nodiscard]] bool is_turn() { return seen++ == at; }
    [[nodiscard]] bool was_made() const { return at >= 0 && seen > at; }
};

enum class AfterDeath {
    AnchorAgain,  ///< the anchor is started again, as `holdfast anchor` does
    HostGone,     ///< and with it everybody else: the power went
};

class SmallHost {
public:
    struct Setup {
        anchor::test::World& world;
        std::string folder;
        anchor::OnPowerLoss on_power_loss = anchor::OnPowerLoss::Refuse;
        AfterDeath after_death = AfterDeath::AnchorAgain;
        std::uint64_t stores_a_second = 0;
    };
    Cut anchor_wire;
    Cut store_wire;
    Cut door_wire;

    explicit SmallHost(const Setup& setup)
        : setup_{setup}, state_{setup.folder + "/state"}, socket_{setup.folder + "/anchor"} {
        if (!std::filesystem::exists(state_)) {
            store::FileDisk disk{open_state(O_CREAT)};
            EXPECT_TRUE(store::format(disk, {.identity = {.name = "box"}}));
        }
        std::filesystem::remove(socket_);
        auto [ours, theirs] = *socket_pair(SOCK_SEQPACKET);
        stop_ = std::move(ours);
        // Before any worker connects.
        UniqueFd listener = std::move(*listen_unix(socket_, SOCK_SEQPACKET));
        anchor_ =
            std::jthread{[this, handover = std::move(theirs), listener = std::move(listener)]() mutable {
                keep_anchor(handover, std::move(listener));
            }};
    }
    ~SmallHost() { stop_.reset(); }
    SmallHost(const SmallHost&) = delete;
    SmallHost& operator=(const SmallHost&) = delete;

    /// A worker's end of a new state service.
    UniqueFd store() {
        auto [worker, near] = *socket_pair(SOCK_STREAM);
        auto [far, service] = *socket_pair(SOCK_STREAM);
        threads_.emplace_back([this, first = std::move(near), second = std::move(far)]() mutable {
            relay(first, second, store_wire, pass_store);
        });
        threads_.emplace_back([client = std::move(service), state = open_state(0)]() mutable {
            (void)store::Session{std::move(client), std::move(state)}.run();
        });
        return std::move(worker);
    }
    /// From now on state services serve a copy of the state, as a host that clones a running vTPM does.
    void clone_state() {
        std::filesystem::copy_file(state_, state_ + "-copy");
        state_ += "-copy";
    }
    /// A worker's end of a new door to the anchor.
    UniqueFd door() {
        auto [worker, ours] = *socket_pair(SOCK_SEQPACKET);
        threads_.emplace_back([this, door = std::move(ours)]() mutable { keep_door(door); });
        return std::move(worker);
    }

private:
    using Pass = bool (*)(const UniqueFd& from, const UniqueFd* to);

    [[nodiscard]] UniqueFd open_state(int flags) const {
        return UniqueFd{::open(state_.c_str(), O_RDWR | O_CLOEXEC | flags, 0600)};
    }

    void keep_anchor(const UniqueFd& handover, UniqueFd listener) {
        using namespace anchor;
        // More lives than faults: the test makes at most two.
        for (int lives = 0; lives < 5; ++lives) {
            anchor::test::Life life{setup_.world, setup_.on_power_loss};
            if (life.open()) {
                Clerk clerk{{.anchor = *life.anchor,
                             .counters = life.counters,
                             .vm_keys = setup_.world.key,
                             .attestation_public = {},
                             .wear = {},
                             .stores_a_second = setup_.stores_a_second},
                            Clerk::Clock::now()};
                auto server = Server::create(handover, std::move(*listener.duplicate()), clerk);
                if (server->run()) return;
                // Before the connections drop, so that nobody finds a way back in.
                if (setup_.after_death == AfterDeath::HostGone) listener.reset();
            }
            if (setup_.after_death == AfterDeath::HostGone) return;
        }
        ADD_FAILURE() << "the anchor does not come back";
    }

    void keep_door(const UniqueFd& door) {
        std::list<std::jthread> wires;
        while (true) {
            const auto asked = receive_message(door, 1);
            if (!asked || asked->bytes.empty() || door_wire.is_turn()) return;
            auto far = connect_unix(socket_, SOCK_SEQPACKET);
            if (!far) return;
            auto [worker, near] = *socket_pair(SOCK_SEQPACKET);
            wires.emplace_back([this, first = std::move(near), second = std::move(*far)]() mutable {
                relay(first, second, anchor_wire, pass_anchor);
            });
            if (!send_message(door, asked->bytes, std::array{worker.get()})) return;
        }
    }

    static void relay(UniqueFd& near, UniqueFd& far, Cut& cut, Pass pass) {
        while (true) {
            std::array waits{pollfd{near.get(), POLLIN, 0}, pollfd{far.get(), POLLIN, 0}};
            // The far end says nothing unasked: it has gone.
            if (::poll(waits.data(), waits.size(), -1) < 0 || waits[1].revents != 0) break;
            const bool now = cut.is_turn();
            if (!pass(near, now && !cut.answer ? nullptr : &far)) break;
            if (!pass(far, now ? nullptr : &near)) break;
        }
        near.reset();
        far.reset();
    }
    /// One message from one to the other; without another it is lost, and the wire is to be cut.
    static bool pass_anchor(const UniqueFd& from, const UniqueFd* to) {
        const auto message = receive_message(from, anchor::kMaxAnswerBytes);
        if (!message || message->bytes.empty() || to == nullptr) return false;
        return send_message(*to, message->bytes).has_value();
    }
    static bool pass_store(const UniqueFd& from, const UniqueFd* to) {
        store::Head head;
        const auto whole = store::read_or_end(from, std::as_writable_bytes(std::span{&head, 1}));
        if (!whole || !*whole) return false;
        std::vector<std::byte> blob(head.length.get());
        const auto rest = store::read_or_end(from, blob);
        if (!rest || !*rest || to == nullptr) return false;
        return write_all(*to, std::as_bytes(std::span{&head, 1})) && write_all(*to, blob);
    }

    Setup setup_;
    std::string state_;
    std::string socket_;
    UniqueFd stop_;
    // Joined from the last: what workers are connected to ends with them, the anchor then.
    std::jthread anchor_;
    std::list<std::jthread> threads_;
};

}  // namespace holdfast::vtpm::test
