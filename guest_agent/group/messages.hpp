// SPDX-License-Identifier: Apache-2.0
// What members of a group send each other through a host that may drop, repeat, reorder, change and invent it
// (docs/agent.md, "Groups"). Decoding is bounded and whole; what was decoded is believed only once member.cpp
// has checked signatures and bindings. All errors are Peer errors.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "guest_agent/crypto/keys.hpp"
#include "sys/sha2.hpp"

namespace holdfast::agent::group {

inline constexpr std::size_t kMaxMembers = 64;
inline constexpr std::size_t kMaxMemberName = 64;        ///< bytes
inline constexpr std::size_t kMaxEvidence = 256U << 10;  ///< bytes of one member's evidence
/// Bytes of all members' key packages together: 16 members may have 61 KiB of evidence each, 64 members 15.
inline constexpr std::size_t kMaxPackages = 992U << 10;
inline constexpr std::size_t kMaxMessage = 64U << 10;  ///< bytes of one application message
/// Bytes: no welcome, and no commit, of a group that may be is longer.
inline constexpr std::size_t kMaxControl = kMaxPackages + (16U << 10);

using GroupId = std::array<std::byte, 16>;
/// Counts the joins of a group, from 1: never given twice.
using MemberId = std::uint32_t;

/// The first byte of each, and of what is signed: so a signature of one kind is none of another.
enum class MessageKind : std::uint8_t { KeyPackage = 1, Commit, Welcome, Ready, Message, Standing, Renewal };
/// Whether it says that it is one; its decoder says whether it is.
[[nodiscard]] bool is_a(MessageKind kind, Bytes message) noexcept;

/// Who wants to be a member, and why it may.
struct KeyPackage {
    std::string name;
    PublicBytes signing{};  ///< for as long as it is a member
    PublicBytes init{};     ///< of HPKE, to receive the welcome and nothing else
    Digest256 made_for{};   ///< transcript of the epoch in which it asks
    std::vector<std::byte> evidence;
    SignatureBytes signature{};
};
[[nodiscard]] std::vector<std::byte> encode(const KeyPackage& package);
[[nodiscard]] Result<KeyPackage> decode_key_package(Bytes bytes);
/// All of it but the signature.
[[nodiscard]] std::vector<std::byte> signed_part(const KeyPackage& package);
/// What the evidence must be bound to: group, name, keys and moment.
[[nodiscard]] Digest256 evidence_binding(const GroupId& group, const KeyPackage& package);

struct Box {
    MemberId to = 0;
    std::vector<std::byte> sealed;
};

/// The next epoch: who leaves, who joins, and its secret for each who will be there.
struct Commit {
    GroupId group{};
    std::uint64_t epoch = 0;  ///< that it ends
    MemberId committer = 0;
    std::vector<MemberId> removed;              ///< ascending
    std::vector<std::vector<std::byte>> added;  ///< key packages as they came
    std::vector<Box> boxes;                     ///< for members that stay and for those that join
    Digest256 confirmation{};                   ///< made with the new epoch's keys
    SignatureBytes signature{};
};
[[nodiscard]] std::vector<std::byte> encode(const Commit& commit);
[[nodiscard]] Result<Commit> decode_commit(Bytes bytes);
/// What the boxes are sealed for: all that comes before them.
[[nodiscard]] std::vector<std::byte> head_of(const Commit& commit);
/// What goes into the transcript: all but confirmation and signature.
[[nodiscard]] std::vector<std::byte> content_of(const Commit& commit);

struct RosterEntry {
    MemberId id = 0;
    std::vector<std::byte> package;  ///< with which it joined, as it came
};

/// What somebody who joins must know beside the commit. Nobody signs it: a wrong one does not confirm.
struct Welcome {
    Digest256 transcript{};  ///< before the commit
    MemberId next_id = 0;    ///< the id that the next one to join gets, before the commit
    Digest256 policy{};
    std::vector<RosterEntry> roster;  ///< before the commit, by ascending id
};
[[nodiscard]] std::vector<std::byte> encode(const Welcome& welcome);
[[nodiscard]] Result<Welcome> decode_welcome(Bytes bytes);

/// How far a group is, for somebody who wants to join. Nobody signs it: with a wrong one he is refused.
struct Standing {
    std::uint64_t epoch = 0;
    Digest256 transcript{};
    bool operator==(const Standing&) const = default;
};
[[nodiscard]] std::vector<std::byte> encode(const Standing& standing);
[[nodiscard]] Result<Standing> decode_standing(Bytes bytes);

/// A member is in this epoch, and receives the next one's secret under this key.
struct Ready {
    GroupId group{};
    std::uint64_t epoch = 0;
    MemberId from = 0;
    Digest256 transcript{};
    PublicBytes key{};  ///< of HPKE, for one epoch
    SignatureBytes signature{};
};
[[nodiscard]] std::vector<std::byte> encode(const Ready& ready);
[[nodiscard]] Result<Ready> decode_ready(Bytes bytes);
[[nodiscard]] std::vector<std::byte> signed_part(const Ready& ready);

/// Evidence that a member shows once more while it is one.
struct Renewal {
    GroupId group{};
    std::uint64_t epoch = 0;
    MemberId from = 0;
    std::vector<std::byte> evidence;
    SignatureBytes signature{};
};
[[nodiscard]] std::vector<std::byte> encode(const Renewal& renewal);
[[nodiscard]] Result<Renewal> decode_renewal(Bytes bytes);
[[nodiscard]] std::vector<std::byte> signed_part(const Renewal& renewal);
/// What the evidence must be bound to: who shows it, and the group's history up to this epoch, so that it is
/// not older.
[[nodiscard]] Digest256 renewal_binding(const GroupId& group, const Digest256& transcript,
                                        std::string_view name, const PublicBytes& signing);

/// Application bytes to the whole group.
struct GroupMessage {
    GroupId group{};
    std::uint64_t epoch = 0;
    MemberId from = 0;
    std::uint64_t number = 0;  ///< of this sender's in this epoch, from 0
    std::vector<std::byte> sealed;
    SignatureBytes signature{};
};
[[nodiscard]] std::vector<std::byte> encode(const GroupMessage& message);
[[nodiscard]] Result<GroupMessage> decode_group_message(Bytes bytes);
[[nodiscard]] std::vector<std::byte> signed_part(const GroupMessage& message);

}  // namespace holdfast::agent::group
