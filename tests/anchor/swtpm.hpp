// SPDX-License-Identifier: Apache-2.0
// A real software TPM in a folder of its own, to play the host's TPM: with the counters, the jumps and the
// sessions of a chip. And the anchor's files beside it.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "sys/process.hpp"
#include "sys/socket.hpp"
#include "vtpm/anchor/anchor.hpp"
#include "vtpm/anchor/host_tpm.hpp"

namespace holdfast::anchor::test {

inline std::string program_path(const std::string& name) {
    for (const char* folder : {"/usr/bin/", "/usr/local/bin/", "/usr/sbin/"}) {
        if (::access((folder + name).c_str(), X_OK) == 0) return folder + name;
    }
    return {};
}

class Host {
public:
    Host() {
        std::string pattern = "/tmp/holdfast-anchor-XXXXXX";
        folder_ = ::mkdtemp(pattern.data());
        std::filesystem::create_directory(path("tpm"));
        power_on();
    }
    Host(const Host&) = delete;
    Host& operator=(const Host&) = delete;
    ~Host() {
        swtpm_ = {};
        std::filesystem::remove_all(folder_);
    }
    [[nodiscard]] std::string path(const std::string& name) const { return folder_ + '/' + name; }

    void power_on(const std::string& state = "tpm") {
        std::filesystem::remove(path("tpm.sock"));
        auto pair = socket_pair(SOCK_STREAM);
        auto child =
            Child::start(program_path("swtpm"),
                         {"socket", "--tpm2", "--tpmstate", "dir=" + path(state) + ",mode=0600", "--server",
                          "type=unixio,path=" + path("tpm.sock"), "--flags", "not-need-init,startup-clear"},
                         pair->second, {});
        ASSERT_TRUE(child);
        swtpm_ = std::move(*child);
    }
    /// The TPM has no time for TPM2_Shutdown.
    void cut_power(const std::string& state = "tpm") {
        swtpm_ = {};
        power_on(state);
    }
    /// A connection to the TPM; waits until it answers.
    [[nodiscard]] UniqueFd tpm() const {
        for (int i = 0; i < 2000; ++i) {
            if (auto fd = connect_unix(path("tpm.sock"))) return std::move(*fd);
            // It makes its socket when it is ready, and tells nobody; until it ends there is hope.
            pollfd ended{.fd = swtpm_.pidfd().get(), .events = POLLIN, .revents = 0};
            if (::poll(&ended, 1, 5) != 0) break;
        }
        ADD_FAILURE() << "swtpm does not serve";
        return {};
    }
    [[nodiscard]] UniqueFd file(const std::string& name) const {
        return UniqueFd{::open(path(name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
    }
    /// Whole folders as storage administrators copy them.
    void save(const std::string& from, const std::string& to) const {
        std::filesystem::remove_all(path(to));
        std::filesystem::copy(path(from), path(to), std::filesystem::copy_options::recursive);
    }

private:
    std::string folder_;
    Child swtpm_;
};

/// One life of an anchor on a host, from files under `name`.
struct Life {
    explicit Life(const Host& on, std::string files = "anchor", OnPowerLoss what = OnPowerLoss::Refuse)
        : host{on}, name{std::move(files)}, policy{what} {
        std::filesystem::create_directories(host.path(name));
        store.emplace(host.file(name + "/keys"));
        log.emplace(std::array{host.file(name + "/log.0"), host.file(name + "/log.1")});
    }
    void init(std::uint32_t pcrs = 0x81) {
        auto reading = HostTpm::init(host.tpm(), *store, pcrs);
        ASSERT_TRUE(reading) << words_of(reading.error().state).name;
        open_tpm();
        ASSERT_TRUE(tpm);
        ASSERT_TRUE(tpm->fence());
        ASSERT_TRUE(Anchor::found(setup(), *tpm->read()));
        tpm.reset();
    }
    void open_tpm(UniqueFd link) {
        auto opened = HostTpm::open(std::move(link), *store);
        if (!opened) {
            refusal = opened.error();
            return;
        }
        tpm = std::move(*opened);
        key.emplace(std::move(*tpm->derive("record key")));
    }
    void open_tpm() { open_tpm(host.tpm()); }
    Anchor::Setup setup() { return {.files = *log, .counters = *tpm, .key = *key, .on_power_loss = policy}; }
    bool open() {
        if (!tpm) open_tpm();
        if (!tpm) return false;
        auto opened = Anchor::open(setup());
        if (opened) anchor = std::move(*opened);
        else refusal = opened.error();
        return anchor != nullptr;
    }
    [[nodiscard]] std::string why() const {
        return refusal ? std::string{words_of(refusal->state).name} : std::string{"serves"};
    }
    Result<void> store_version(std::uint64_t version, Strength strength = Strength::Ordinary) {
        return anchor->commit(std::array{Leaf{.vm = {std::byte{1}}, .version = version}}, strength);
    }
    [[nodiscard]] std::uint64_t version() const {
        const Leaf* const leaf = anchor->ledger().find({std::byte{1}});
        return leaf == nullptr ? 0 : leaf->version;
    }

    const Host& host;
    std::string name;
    OnPowerLoss policy;
    std::optional<KeyStore> store;
    std::optional<DiskLogFiles> log;
    std::unique_ptr<HostTpm> tpm;
    std::optional<SecretBytes> key;
    std::unique_ptr<Anchor> anchor;
    std::optional<Refusal> refusal;
};

}  // namespace holdfast::anchor::test
