// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/keystore/keystore.hpp"

#include "guest_agent/crypto/kdf.hpp"
#include "sys/wire/codec.hpp"

namespace holdfast::agent::keystore {
namespace {

constexpr std::string_view kLabel = "holdfast keystore 1";

constexpr std::uint32_t index_of(Counter counter) noexcept { return static_cast<std::uint32_t>(counter); }

struct File {
    std::uint64_t count = 0;
    Sealed sealed;
};

std::vector<std::byte> encode(const File& file) {
    WireWriter writer;
    writer.put_string(kLabel);
    writer.put(file.count);
    writer.put_bytes(file.sealed.public_area);
    writer.put_bytes(file.sealed.private_area);
    return {writer.bytes().begin(), writer.bytes().end()};
}

Result<File> decode(Bytes bytes) {
    if (bytes.size() > kMaxFile) return input_error("not a file of the keystore");
    WireReader reader{bytes};
    if (HF_TRY(reader.get_string()) != kLabel) return input_error("not a file of the keystore");
    File file{.count = HF_TRY(reader.get<std::uint64_t>()), .sealed = {}};
    const auto public_area = HF_TRY(reader.get_bytes());
    const auto private_area = HF_TRY(reader.get_bytes());
    HF_TRY(reader.expect_end());
    file.sealed.public_area.assign(public_area.begin(), public_area.end());
    file.sealed.private_area.assign(private_area.begin(), private_area.end());
    return file;
}

Result<std::uint32_t> policy(Session& tpm, Session::Kind kind, std::uint64_t count, Counter counter) {
    const auto session = HF_TRY(tpm.start(kind));
    HF_TRY(tpm.policy_pcr(session, kPcrs));
    HF_TRY(tpm.policy_counter(session, index_of(counter), count));
    return session;
}

}  // namespace

Result<std::vector<std::byte>> seal_for_next(const RunCommand& run, Bytes secret, Counter counter) {
    if (secret.empty() || secret.size() > kMaxSecret) return input_error("a secret has 1 to 128 bytes");
    Session tpm{run};
    if (!HF_TRY(tpm.has_counter(index_of(counter)))) {
        HF_TRY(tpm.define_counter(index_of(counter)));
        // A counter can be read once it has counted.
        HF_TRY(tpm.increment(index_of(counter)));
    }
    File file{.count = HF_TRY(tpm.read_counter(index_of(counter))) + 1, .sealed = {}};
    const auto trial = HF_TRY(policy(tpm, Session::Kind::Trial, file.count, counter));
    const auto digest = HF_TRY(tpm.policy_digest(trial));
    const auto parent = HF_TRY(tpm.storage_key());
    file.sealed = HF_TRY(tpm.seal(parent, digest, secret));
    return encode(file);
}

Result<void> advance(const RunCommand& run, Counter counter) {
    Session tpm{run};
    return tpm.increment(index_of(counter));
}

Result<SecretBuffer> unseal(const RunCommand& run, Bytes bytes, Counter counter) {
    const File file = HF_TRY(decode(bytes));
    Session tpm{run};
    if (!HF_TRY(tpm.has_counter(index_of(counter))))
        return input_error("this TPM has no counter: it never sealed this");
    const auto count = HF_TRY(tpm.read_counter(index_of(counter)));
    // Said in words; what refuses is the TPM's own policy.
    if (count > file.count)
        return input_error("an older file than the newest that this TPM knows: a rollback");
    if (count < file.count)
        return input_error("a newer file than this TPM knows of: not counted yet, or its state is old");
    const auto parent = HF_TRY(tpm.storage_key());
    const auto object = HF_TRY(tpm.load(parent, file.sealed));
    const auto session = HF_TRY(policy(tpm, Session::Kind::Policy, file.count, counter));
    return tpm.unseal(object, session);
}

Result<bool> is_disk_marked(const RunCommand& run) {
    Session tpm{run};
    return tpm.has_counter(kDiskMark);
}

Result<void> mark_disk(const RunCommand& run) {
    Session tpm{run};
    return tpm.define_counter(kDiskMark);
}

}  // namespace holdfast::agent::keystore
