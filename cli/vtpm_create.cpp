// SPDX-License-Identifier: Apache-2.0
// holdfast vtpm create
#include <ctime>

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/rand.h>
#include <sys/socket.h>
#include <nlohmann/json.hpp>

#include "cli/error.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/signing.hpp"
#include "cli/vtpm.hpp"
#include "cli/vtpm_home.hpp"
#include "cli/vtpm_process.hpp"
#include "sys/socket.hpp"
#include "vtpm/ca/provision.hpp"
#include "vtpm/state/seal.hpp"

namespace holdfast::cli {
namespace {

vtpm::Id new_id() {
    vtpm::Id id{};
    // SAFETY: bytes as unsigned char, for a C interface.
    if (::RAND_bytes(reinterpret_cast<unsigned char*>(id.data()), static_cast<int>(id.size())) != 1) {
        expect(Result<void>{Error{Fault::Os, 0, "draw an id"}});
    }
    id[6] = (id[6] & std::byte{0x0f}) | std::byte{0x40};  // RFC 9562: version 4,
    id[8] = (id[8] & std::byte{0x3f}) | std::byte{0x80};  // variant 1
    return id;
}

UniqueFd make_state_file(const std::string& path, const vtpm::store::Identified& owner) {
    UniqueFd fd{::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)};
    const auto formatted = [&]() -> Result<void> {
        if (!fd) return os_error("open");
        vtpm::store::FileDisk disk{HF_TRY(fd.duplicate())};
        return vtpm::store::format(disk, owner);
    }();
    if (!formatted) {
        throw Failure{Code::StateDirectory, fmt::format("the state file '{}' cannot be made", path),
                      reason_of(formatted.error()), "look at the disk's free space and health"};
    }
    return fd;
}

anchor::Digest tenant_of(const std::string& key_file) {
    if (key_file.empty()) return {};
    return expect(vtpm::digest_of(read_public_key(key_file, KeyKind::Ed25519OrP256)));
}

void manufacture(const VtpmHome& home, const std::string& state_dir, const std::string& name,
                 const vtpm::store::Identified& owner, UniqueFd state, const anchor::Digest& tenant) {
    auto [control, control_theirs] = expect(socket_pair(SOCK_STREAM));
    auto [data, data_theirs] = expect(socket_pair(SOCK_STREAM));
    auto process = VtpmStart{.name = name,
                             .identity = owner.identity,
                             .start = vtpm::Start::Create,
                             .tenant = tenant,
                             .state = std::move(state),
                             .listener = {},
                             .control = std::move(control_theirs),
                             .data = std::move(data_theirs)}
                       .launch(home.state_key(), state_dir);
    process.wait_ready();
    const auto authority = home.authority();
    {
        vtpm::ca::Tpm tpm{std::move(control), std::move(data)};
        const auto made = vtpm::ca::provision(
            tpm, authority, {.name = name, .id = uuid_of(owner.identity.id), .host = authority.host()});
        if (!made) {
            throw Failure{Code::VtpmFailed, fmt::format("the vTPM '{}' could not be made", name),
                          reason_of(made.error()), "its log above may say more; nothing of it is left"};
        }
    }
    process.leave();
}

}  // namespace

void make_vtpm(const std::string& state_dir, const std::string& name, const std::string& tenant_key) {
    const VtpmHome home{state_dir};
    const auto tenant = tenant_of(tenant_key);
    auto draft = home.draft(name);
    home.make_keys();
    const vtpm::store::Identified owner{.identity = {.id = new_id(), .name = name},
                                        .created = static_cast<std::uint64_t>(std::time(nullptr))};
    manufacture(home, state_dir, name, owner, make_state_file(draft.file(), owner), tenant);
    draft.keep();
}

int create_vtpm(const VtpmCreateOptions& options, const std::string& state_dir) {
    make_vtpm(state_dir, options.name, options.tenant_key);
    const VtpmHome home{state_dir};
    const FoundVtpm found = home.find(options.name);
    if (options.json) {
        auto json = to_json(found);
        json["ca_certificate"] = home.ca_certificate_path();
        write_text(1, json.dump(2) + "\n");
        return 0;
    }
    print("{}: id {}, EK certificates by {}\n", options.name, uuid_of(found.owner.identity.id),
          home.ca_certificate_path());
    return 0;
}

}  // namespace holdfast::cli
