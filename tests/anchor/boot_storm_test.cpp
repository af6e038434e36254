// SPDX-License-Identifier: Apache-2.0
// A thousand vTPMs whose guests boot at once. Linux gives a TPM 750 ms for its start (TPM2_DURATION_SHORT),
// so what counts is how many increments of the host's TPM a store waits for. How long one takes is the chip's
// affair; bench/anchor_bench.cpp has a table.
#include <atomic>
#include <csignal>
#include <thread>

#include "tests/anchor/storm.hpp"
#include "tests/anchor/swtpm.hpp"
#include "vtpm/anchor/server.hpp"

namespace holdfast::anchor::test {
namespace {

/// The host's TPM, whose increments begin when the gate is open.
class Gated final : public Counters {
public:
    explicit Gated(Counters& tpm) : tpm_{tpm} {}
    void set_open(bool open) {
        open_ = open;
        open_.notify_all();
    }
    [[nodiscard]] unsigned increments() const { return increments_; }

    std::expected<void, Refusal> fence() override { return tpm_.fence(); }
    Result<Reading> read() override { return tpm_.read(); }
    Result<void> advance_o() override {
        pass();
        return tpm_.advance_o();
    }
    Result<void> advance_s() override {
        pass();
        return tpm_.advance_s();
    }
    Result<Certificate> certify(const Digest& about) override { return tpm_.certify(about); }
    [[nodiscard]] std::uint64_t jump_bits() const noexcept override { return tpm_.jump_bits(); }

private:
    void pass() {
        open_.wait(false);
        ++increments_;
    }

    Counters& tpm_;
    std::atomic<bool> open_ = true;
    std::atomic<unsigned> increments_ = 0;
};

TEST(BootStorm, AStoreOfAThousandWaitsForTwoIncrementsAtMost) {
    constexpr std::size_t kVtpms = 1000;
    constexpr int kStores = 5;
    if (program_path("swtpm").empty()) GTEST_SKIP() << "skip: no swtpm";
    std::signal(SIGPIPE, SIG_IGN);  // as the jail does
    Host host;
    Life{host}.init();
    Life life{host};
    life.open_tpm();
    ASSERT_TRUE(life.tpm);
    Gated counters{*life.tpm};
    auto anchor = Anchor::open({.files = *life.log, .counters = counters, .key = *life.key});
    ASSERT_TRUE(anchor);
    const SecretBytes vm_keys = must(SecretBytes::create(32));
    Clerk clerk{
        {.anchor = **anchor, .counters = counters, .vm_keys = vm_keys, .attestation_public = {}, .wear = {}},
        Clerk::Clock::now()};
    auto [ours, theirs] = must(socket_pair(SOCK_SEQPACKET));
    auto server =
        must(Server::create(theirs, must(listen_unix(host.path("anchor.sock"), SOCK_SEQPACKET)), clerk));
    std::jthread serving{[&] { must(server.run()); }};

    Storm storm{host.path("anchor.sock"), kVtpms};
    for (int i = 0; i < kStores; ++i) {
        const unsigned before = counters.increments();
        counters.set_open(false);
        for (std::size_t vtpm = 0; vtpm < kVtpms; ++vtpm) storm.store(vtpm);
        counters.set_open(true);
        for (std::size_t left = kVtpms; left > 0;) left -= storm.answered().size();
        // One that ran already when the last store arrived, and the one that carries all others.
        EXPECT_LE(counters.increments() - before, 2U);
    }
    ours.reset();
}

}  // namespace
}  // namespace holdfast::anchor::test
