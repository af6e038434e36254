// SPDX-License-Identifier: Apache-2.0
// Where a host keeps its vTPMs and the keys that protect them: ROOT/vtpm/NAME/state and ROOT/host. All
// of it is mode 0700 and this user's.
#pragma once

#include <string>
#include <vector>

#include "sys/fd.hpp"
#include "sys/secret.hpp"
#include "vtpm/ca/authority.hpp"
#include "vtpm/store/slots.hpp"

namespace holdfast::cli {

/// `state_dir` if given, else /var/lib/holdfast for root and $XDG_STATE_HOME/holdfast for others.
[[nodiscard]] std::string persistent_root(const std::string& state_dir);

struct FoundVtpm {
    std::string name;
    std::string file;  ///< its state
    vtpm::store::Identified owner;
    bool serving = false;
    std::string damage;  ///< not empty: the file's head says nothing, and this is why
};

class VtpmHome {
public:
    explicit VtpmHome(const std::string& state_dir) : root_{persistent_root(state_dir)} {}

    [[nodiscard]] std::string directory(const std::string& name) const { return root_ + "/vtpm/" + name; }
    /// Where a vTPM that runs answers the host's questions (vtpm/quote.hpp).
    [[nodiscard]] std::string quote_socket(const std::string& name) const {
        return directory(name) + "/quote.sock";
    }
    [[nodiscard]] std::string ca_certificate_path() const { return root_ + "/host/ca.pem"; }
    [[nodiscard]] std::vector<FoundVtpm> list() const;
    [[nodiscard]] bool has(const std::string& name) const;
    /// Throws HF-0503.
    [[nodiscard]] FoundVtpm find(const std::string& name) const;
    /// The same, of one whose state can be used. Throws HF-0501 as well.
    [[nodiscard]] FoundVtpm find_whole(const std::string& name) const;
    /// The same, of one that nobody runs, or that gets free soon. Throws HF-0504 as well.
    [[nodiscard]] FoundVtpm find_unused(const std::string& name) const;

    /// A vTPM that is being made: its directory has another name until keep(), and goes with this
    /// object before. Throws HF-0502.
    class Draft {
    public:
        Draft(Draft&& other) noexcept;
        Draft& operator=(Draft&&) = delete;
        ~Draft();
        [[nodiscard]] std::string file() const { return path_ + "/state"; }
        /// From here on the vTPM exists, whatever happens to the host.
        void keep();

    private:
        friend class VtpmHome;
        Draft(std::string path, std::string final_path, UniqueFd lock)
            : path_{std::move(path)}, final_path_{std::move(final_path)}, lock_{std::move(lock)} {}
        std::string path_;
        std::string final_path_;
        UniqueFd lock_;
    };
    [[nodiscard]] Draft draft(const std::string& name) const;
    void remove(const FoundVtpm& found) const;

    /// The key that protects this host's vTPM states, and its certificate authority. Made at the first
    /// `create`; where one is missing although there are vTPMs, that is an error (HF-0507).
    [[nodiscard]] SecretBytes state_key() const;
    [[nodiscard]] vtpm::ca::Authority authority() const;
    void make_keys() const;

private:
    std::string root_;
};

/// Open for reading and writing; never follows a link.
[[nodiscard]] UniqueFd open_vtpm_state(const std::string& file);

}  // namespace holdfast::cli
