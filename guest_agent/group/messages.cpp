// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/group/messages.hpp"

#include <algorithm>

#include "guest_agent/crypto/hpke.hpp"
#include "guest_agent/crypto/kdf.hpp"
#include "sys/wire/codec.hpp"

namespace holdfast::agent::group {
namespace {

constexpr std::string_view kLabel = "holdfast group 1";
constexpr std::size_t kMaxBox = 256;

std::vector<std::byte> taken(const WireWriter& writer) {
    return {writer.bytes().begin(), writer.bytes().end()};
}

WireWriter begin(MessageKind kind) {
    WireWriter writer;
    writer.put(static_cast<std::uint8_t>(kind));
    writer.put_string(kLabel);
    return writer;
}

Result<WireReader> begin(MessageKind kind, Bytes bytes) {
    WireReader reader{bytes};
    if (HF_TRY(reader.get<std::uint8_t>()) != static_cast<std::uint8_t>(kind))
        return peer_fault("a message of another kind");
    const auto label = HF_TRY(reader.get_bytes());
    if (!std::ranges::equal(label, text(kLabel))) return peer_fault("a message of another version");
    return reader;
}

template <std::size_t Size>
Result<std::array<std::byte, Size>> get_fixed(WireReader& reader) {
    const auto bytes = HF_TRY(reader.get_bytes());
    std::array<std::byte, Size> out{};
    if (bytes.size() != Size) return peer_fault("a field of another size");
    std::ranges::copy(bytes, out.begin());
    return out;
}

Result<std::vector<std::byte>> get_at_most(WireReader& reader, std::size_t most) {
    const auto bytes = HF_TRY(reader.get_bytes());
    if (bytes.size() > most) return peer_fault("a field that is too long");
    return std::vector<std::byte>{bytes.begin(), bytes.end()};
}

Result<std::uint32_t> get_count(WireReader& reader) {
    const auto count = HF_TRY(reader.get<std::uint32_t>());
    if (count > kMaxMembers) return peer_fault("more members than a group may have");
    return count;
}

std::vector<std::byte> with_signature(std::vector<std::byte> bytes, const SignatureBytes& signature) {
    WireWriter tail;
    tail.put_bytes(signature);
    bytes.insert(bytes.end(), tail.bytes().begin(), tail.bytes().end());
    return bytes;
}

constexpr std::size_t kMaxPackage = kMaxEvidence + 1024;

WireWriter commit_head(const Commit& commit) {
    WireWriter writer = begin(MessageKind::Commit);
    writer.put_bytes(commit.group);
    writer.put(commit.epoch);
    writer.put(commit.committer);
    writer.put(static_cast<std::uint32_t>(commit.removed.size()));
    for (const MemberId id : commit.removed) writer.put(id);
    writer.put(static_cast<std::uint32_t>(commit.added.size()));
    for (const auto& package : commit.added) writer.put_bytes(package);
    return writer;
}

WireWriter commit_content(const Commit& commit) {
    WireWriter writer = commit_head(commit);
    writer.put(static_cast<std::uint32_t>(commit.boxes.size()));
    for (const Box& box : commit.boxes) {
        writer.put(box.to);
        writer.put_bytes(box.sealed);
    }
    return writer;
}

}  // namespace

bool is_a(MessageKind kind, Bytes message) noexcept {
    return !message.empty() && message.front() == static_cast<std::byte>(kind);
}

std::vector<std::byte> signed_part(const KeyPackage& package) {
    WireWriter writer = begin(MessageKind::KeyPackage);
    writer.put_string(package.name);
    writer.put_bytes(package.signing);
    writer.put_bytes(package.init);
    writer.put_bytes(package.made_for);
    writer.put_bytes(package.evidence);
    return taken(writer);
}

std::vector<std::byte> encode(const KeyPackage& package) {
    return with_signature(signed_part(package), package.signature);
}

Result<KeyPackage> decode_key_package(Bytes bytes) {
    WireReader reader = HF_TRY(begin(MessageKind::KeyPackage, bytes));
    KeyPackage package;
    package.name = HF_TRY(reader.get_string());
    if (package.name.empty() || package.name.size() > kMaxMemberName) return peer_fault("a member's name");
    package.signing = HF_TRY(get_fixed<32>(reader));
    package.init = HF_TRY(get_fixed<32>(reader));
    package.made_for = HF_TRY(get_fixed<32>(reader));
    package.evidence = HF_TRY(get_at_most(reader, kMaxEvidence));
    package.signature = HF_TRY(get_fixed<kSignatureBytes>(reader));
    HF_TRY(reader.expect_end());
    return package;
}

Digest256 evidence_binding(const GroupId& group, const KeyPackage& package) {
    return hash_parts({text(kLabel), text("evidence"), group, text(package.name), package.signing,
                       package.init, package.made_for});
}

std::vector<std::byte> head_of(const Commit& commit) { return taken(commit_head(commit)); }
std::vector<std::byte> content_of(const Commit& commit) { return taken(commit_content(commit)); }

std::vector<std::byte> encode(const Commit& commit) {
    WireWriter writer = commit_content(commit);
    writer.put_bytes(commit.confirmation);
    return with_signature(taken(writer), commit.signature);
}

Result<Commit> decode_commit(Bytes bytes) {
    WireReader reader = HF_TRY(begin(MessageKind::Commit, bytes));
    Commit commit;
    commit.group = HF_TRY(get_fixed<16>(reader));
    commit.epoch = HF_TRY(reader.get<std::uint64_t>());
    commit.committer = HF_TRY(reader.get<std::uint32_t>());
    const auto removed = HF_TRY(get_count(reader));
    for (std::uint32_t i = 0; i < removed; ++i) commit.removed.push_back(HF_TRY(reader.get<std::uint32_t>()));
    const auto added = HF_TRY(get_count(reader));
    for (std::uint32_t i = 0; i < added; ++i)
        commit.added.push_back(HF_TRY(get_at_most(reader, kMaxPackage)));
    const auto boxes = HF_TRY(get_count(reader));
    for (std::uint32_t i = 0; i < boxes; ++i) {
        Box box{.to = HF_TRY(reader.get<std::uint32_t>()), .sealed = {}};
        box.sealed = HF_TRY(get_at_most(reader, kMaxBox));
        commit.boxes.push_back(std::move(box));
    }
    commit.confirmation = HF_TRY(get_fixed<32>(reader));
    commit.signature = HF_TRY(get_fixed<kSignatureBytes>(reader));
    HF_TRY(reader.expect_end());
    return commit;
}

std::vector<std::byte> encode(const Welcome& welcome) {
    WireWriter writer = begin(MessageKind::Welcome);
    writer.put_bytes(welcome.transcript);
    writer.put(welcome.next_id);
    writer.put_bytes(welcome.policy);
    writer.put(static_cast<std::uint32_t>(welcome.roster.size()));
    for (const RosterEntry& entry : welcome.roster) {
        writer.put(entry.id);
        writer.put_bytes(entry.package);
    }
    return taken(writer);
}

Result<Welcome> decode_welcome(Bytes bytes) {
    WireReader reader = HF_TRY(begin(MessageKind::Welcome, bytes));
    Welcome welcome;
    welcome.transcript = HF_TRY(get_fixed<32>(reader));
    welcome.next_id = HF_TRY(reader.get<std::uint32_t>());
    welcome.policy = HF_TRY(get_fixed<32>(reader));
    const auto members = HF_TRY(get_count(reader));
    for (std::uint32_t i = 0; i < members; ++i) {
        RosterEntry entry{.id = HF_TRY(reader.get<std::uint32_t>()), .package = {}};
        entry.package = HF_TRY(get_at_most(reader, kMaxPackage));
        welcome.roster.push_back(std::move(entry));
    }
    HF_TRY(reader.expect_end());
    return welcome;
}

std::vector<std::byte> encode(const Standing& standing) {
    WireWriter writer = begin(MessageKind::Standing);
    writer.put(standing.epoch);
    writer.put_bytes(standing.transcript);
    return taken(writer);
}

Result<Standing> decode_standing(Bytes bytes) {
    WireReader reader = HF_TRY(begin(MessageKind::Standing, bytes));
    Standing standing{.epoch = HF_TRY(reader.get<std::uint64_t>()), .transcript = {}};
    standing.transcript = HF_TRY(get_fixed<32>(reader));
    HF_TRY(reader.expect_end());
    return standing;
}

std::vector<std::byte> signed_part(const Ready& ready) {
    WireWriter writer = begin(MessageKind::Ready);
    writer.put_bytes(ready.group);
    writer.put(ready.epoch);
    writer.put(ready.from);
    writer.put_bytes(ready.transcript);
    writer.put_bytes(ready.key);
    return taken(writer);
}

std::vector<std::byte> encode(const Ready& ready) {
    return with_signature(signed_part(ready), ready.signature);
}

Result<Ready> decode_ready(Bytes bytes) {
    WireReader reader = HF_TRY(begin(MessageKind::Ready, bytes));
    Ready ready;
    ready.group = HF_TRY(get_fixed<16>(reader));
    ready.epoch = HF_TRY(reader.get<std::uint64_t>());
    ready.from = HF_TRY(reader.get<std::uint32_t>());
    ready.transcript = HF_TRY(get_fixed<32>(reader));
    ready.key = HF_TRY(get_fixed<32>(reader));
    ready.signature = HF_TRY(get_fixed<kSignatureBytes>(reader));
    HF_TRY(reader.expect_end());
    return ready;
}

std::vector<std::byte> signed_part(const Renewal& renewal) {
    WireWriter writer = begin(MessageKind::Renewal);
    writer.put_bytes(renewal.group);
    writer.put(renewal.epoch);
    writer.put(renewal.from);
    writer.put_bytes(renewal.evidence);
    return taken(writer);
}

std::vector<std::byte> encode(const Renewal& renewal) {
    return with_signature(signed_part(renewal), renewal.signature);
}

Result<Renewal> decode_renewal(Bytes bytes) {
    WireReader reader = HF_TRY(begin(MessageKind::Renewal, bytes));
    Renewal renewal;
    renewal.group = HF_TRY(get_fixed<16>(reader));
    renewal.epoch = HF_TRY(reader.get<std::uint64_t>());
    renewal.from = HF_TRY(reader.get<std::uint32_t>());
    renewal.evidence = HF_TRY(get_at_most(reader, kMaxEvidence));
    renewal.signature = HF_TRY(get_fixed<kSignatureBytes>(reader));
    HF_TRY(reader.expect_end());
    return renewal;
}

Digest256 renewal_binding(const GroupId& group, const Digest256& transcript, std::string_view name,
                          const PublicBytes& signing) {
    return hash_parts({text(kLabel), text("renewal"), group, transcript, text(name), signing});
}

std::vector<std::byte> signed_part(const GroupMessage& message) {
    WireWriter writer = begin(MessageKind::Message);
    writer.put_bytes(message.group);
    writer.put(message.epoch);
    writer.put(message.from);
    writer.put(message.number);
    writer.put_bytes(message.sealed);
    return taken(writer);
}

std::vector<std::byte> encode(const GroupMessage& message) {
    return with_signature(signed_part(message), message.signature);
}

Result<GroupMessage> decode_group_message(Bytes bytes) {
    WireReader reader = HF_TRY(begin(MessageKind::Message, bytes));
    GroupMessage message;
    message.group = HF_TRY(get_fixed<16>(reader));
    message.epoch = HF_TRY(reader.get<std::uint64_t>());
    message.from = HF_TRY(reader.get<std::uint32_t>());
    message.number = HF_TRY(reader.get<std::uint64_t>());
    message.sealed = HF_TRY(get_at_most(reader, kMaxMessage + 16));
    message.signature = HF_TRY(get_fixed<kSignatureBytes>(reader));
    HF_TRY(reader.expect_end());
    return message;
}

}  // namespace holdfast::agent::group
