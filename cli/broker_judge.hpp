// SPDX-License-Identifier: Apache-2.0
// Whether a guest gets a secret, and the record of that. No secret leaves before its release is written down.
#pragma once

#include <string>
#include <vector>

#include "attest/broker/message.hpp"
#include "cli/broker_config.hpp"
#include "cli/broker_keeper.hpp"
#include "cli/verify.hpp"
#include "sys/fd.hpp"
#include "sys/sha2.hpp"
#include "sys/thread.hpp"

namespace holdfast::cli {

/// Any thread may ask; one at a time is judged.
class BrokerJudge {
public:
    /// Opens the log to append to it. Throws HF-0110.
    BrokerJudge(BrokerConfig config, const std::string& log, const BrokerKeeper& keeper);

    [[nodiscard]] const BrokerConfig& config() const noexcept { return config_; }

    struct Decision {
        const SecretBytes* secret = nullptr;  ///< none: refused; lives as long as the judge
        std::vector<std::string> refused;     ///< codes
    };
    /// `binding`: what the evidence must have been made for (attest/channel/binding.hpp).
    [[nodiscard]] Decision decide(const std::string& peer, const attest::broker::Request& request,
                                  const Digest256& binding);
    /// What was refused before there was anything to judge. Returns `code` alone.
    [[nodiscard]] Decision refuse(const std::string& peer, std::string_view name, const char* code);

private:
    Decision judge(const attest::broker::Request& request, const Digest256& binding, Facts& facts)
        HF_REQUIRES(mutex_);
    [[nodiscard]] bool write_down(const std::string& peer, std::string_view name, const Decision& decision,
                                  const Facts& facts) HF_REQUIRES(mutex_);
    BrokerConfig config_;
    const BrokerKeeper& keeper_;
    Mutex mutex_;
    attest::tpm::KeyMemory keys_ HF_GUARDED_BY(mutex_);
    UniqueFd log_;
};

}  // namespace holdfast::cli
