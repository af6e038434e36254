// SPDX-License-Identifier: Apache-2.0
#include "vtpm/state/keeper.hpp"

namespace holdfast::vtpm {

Result<std::optional<StateBlob>> Keeper::open() {
    auto stored = HF_TRY(store_.open());
    using store::Status;
    if (stored.status == Status::Locked) return std::optional<StateBlob>{};
    if (stored.status == Status::Damaged) return input_error("the state file is damaged");
    if (anchored_ != nullptr) return std::optional{HF_TRY(open_anchored(std::move(stored)))};
    StateBlob plain;
    if (stored.status == Status::Ok) {
        auto opened = HF_TRY(sealer_.open(SealedType::Permanent, stored.sealed));
        // The number outside is the service's word, the one inside is sealed.
        if (opened.version != stored.version) return input_error("the state's version is not the sealed one");
        plain = std::move(opened.plain);
    }
    version_ = stored.version;
    open_ = true;
    return std::optional{std::move(plain)};
}

/// Only what the ledger's leaf names is opened. Without a digest (a new vTPM, or one whose newest states a
/// power cut of the host has made unprovable) it is any authentic state from the leaf's version on.
Result<StateBlob> Keeper::open_anchored(StoreClient::Opened stored) {
    // It is never given back (release() is a migration's), so never taken twice.
    if (!key_room_) return input_error("an anchored vTPM is opened once");
    auto granted = HF_TRY(anchored_->start());
    const anchor::Leaf& leaf = granted.leaf;
    auto anchored = sealer_.anchored(granted.key, std::move(*key_room_));
    key_room_.reset();
    wipe(granted.key);
    if (!anchored) return anchored.error();
    if (leaf.version == 0) return bring_in(stored, std::move(*anchored));

    const bool is_named = leaf.permanent != anchor::Digest{};
    // Written, and never answered for: the anchor was not told, so it never was.
    if (is_named && stored.version == leaf.version + 1) stored = HF_TRY(store_.go_back());
    if (stored.version < leaf.version) return input_error("the state is older than the newest: a rollback");
    if (is_named && stored.version > leaf.version) {
        return input_error("the state is newer than the ledger: not of this host, or the ledger's gap");
    }
    const anchor::Digest digest = HF_TRY(digest_of(stored.sealed));
    if (is_named && digest != leaf.permanent) {
        return input_error("the state has the newest one's number and is another");
    }
    auto opened = HF_TRY(anchored->open(SealedType::Permanent, stored.sealed));
    if (opened.version != stored.version) return input_error("the state's version is not the sealed one");
    anchored_->hold(
        {.version = leaf.version, .permanent = leaf.permanent, .volatile_state = leaf.volatile_state});
    sealer_ = std::move(*anchored);
    version_ = stored.version;
    open_ = true;
    // Before anything shows it: else another of those states could be started the next time.
    if (!is_named) HF_TRY(commit_or_refuse(opened.plain));
    return std::move(opened.plain);
}

Result<void> Keeper::commit_or_refuse(const StateBlob& plain) {
    if (HF_TRY(commit(plain.bytes())) == Outcome::Newest) return {};
    return input_error("the anchor takes no new state now: its budget of the day is spent");
}

/// A vTPM that the anchor never had a state of: new, or made before this host had an anchor.
Result<StateBlob> Keeper::bring_in(const StoreClient::Opened& stored, Sealer anchored) {
    StateBlob plain;
    if (stored.status == store::Status::Ok) {
        auto opened = sealer_.open(SealedType::Permanent, stored.sealed);
        // An earlier attempt may have written one, and not lived to tell the anchor. No guest has seen an
        // answer that it stands behind.
        if (!opened) opened = anchored.open(SealedType::Permanent, stored.sealed);
        if (!opened) return opened.error();
        plain = std::move(opened->plain);
        version_ = opened->version;
    }
    sealer_ = std::move(anchored);
    open_ = true;
    if (version_ > 0) HF_TRY(commit_or_refuse(plain));
    return plain;
}

Result<Outcome> Keeper::commit(std::span<const std::byte> permanent) {
    if (!open_) return input_error("the state is not this process's");
    const auto sealed = HF_TRY(sealer_.seal(SealedType::Permanent, version_ + 1, permanent));
    const Outcome outcome = HF_TRY(commit_.commit(version_ + 1, sealed));
    ++version_;
    return outcome;
}

Result<void> Keeper::release() {
    open_ = false;
    return store_.release();
}

}  // namespace holdfast::vtpm
