// SPDX-License-Identifier: Apache-2.0
#include "vtpm/service.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <thread>

#include "sys/log.hpp"
#include "vtpm/channel/send.hpp"
#include "vtpm/engine/command.hpp"
#include "vtpm/tpm2/attestation.hpp"

namespace holdfast::vtpm {
namespace {

using namespace std::chrono_literals;
namespace result = channel::result;
namespace wire = channel::wire;

// What QEMU 10 and libvirt ask for, and hashing and cancelling. Not offered: STORE_VOLATILE (an old
// volatile state is a rollback of PCRs), GET_INFO (no client of ours reads it).
constexpr std::uint32_t kCapabilities =
    channel::cap::INIT | channel::cap::SHUTDOWN | channel::cap::GET_TPMESTABLISHED |
    channel::cap::SET_LOCALITY | channel::cap::HASHING | channel::cap::CANCEL_TPM_CMD |
    channel::cap::RESET_TPMESTABLISHED | channel::cap::GET_STATEBLOB | channel::cap::SET_STATEBLOB |
    channel::cap::STOP | channel::cap::GET_CONFIG | channel::cap::SET_DATAFD | channel::cap::SET_BUFFERSIZE |
    channel::cap::LOCK_STORAGE;
constexpr std::uint32_t kConfigKeys = 3;  // state and migration are both encrypted

constexpr auto kSendLimit = 2s;
constexpr auto kLockRetry = 10ms;
constexpr std::uint32_t kMostRetries = 500;

// Commands that write the state each time: far more than an honest guest sends, far less than a disk
// (and later the host's TPM) can be made to suffer.
constexpr std::uint64_t kStoresPerSecond = 500;
constexpr std::uint64_t kStoresBurst = 5000;
// What an anchor allows by default, which all vTPMs of the host share one TPM with.
constexpr std::uint64_t kAnchoredPerSecond = 20;
constexpr std::uint64_t kAnchoredBurst = 200;
// How often the mark of a counted authorisation is taken away at once, and not when the guest pauses.
constexpr std::uint64_t kClosesPerSecond = 10;
constexpr std::uint64_t kClosesBurst = 20;

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
    return std::as_bytes(std::span{&value, 1});
}

}  // namespace

Service::Service(Engine& engine, Keeper& keeper, Start start)
    : engine_{engine},
      keeper_{keeper},
      start_{start},
      stores_{keeper.is_anchored() ? kAnchoredPerSecond : kStoresPerSecond,
              keeper.is_anchored() ? kAnchoredBurst : kStoresBurst, TokenBucket::Clock::now()},
      da_closes_{kClosesPerSecond, kClosesBurst, TokenBucket::Clock::now()} {}

Result<void> Service::prepare() {
    const Lock lock{mutex_};
    if (start_ == Start::Incoming) return {};
    if (!HF_TRY(take_state())) return input_error("another process serves this vTPM");
    return {};
}

std::optional<Error> Service::fatal() const {
    const Lock lock{mutex_};
    return fatal_;
}

// ---- the gate

Result<void> Service::release(const UniqueFd& to, std::span<const std::byte> reply,
                              std::span<const std::byte> instead) {
    const bool durable = HF_TRY(settle()) == Outcome::Newest;
    return channel::send_within(to, durable ? reply : instead, kSendLimit);
}

Result<void> Service::release(const UniqueFd& to, std::span<const std::byte> reply) {
    return release(to, reply, bytes_of(wire::Result{result::FAIL}));
}

Result<void> Service::release(const UniqueFd& to, std::uint32_t result) {
    return release(to, bytes_of(wire::Result{result}));
}

Result<void> Service::release_response(const UniqueFd& to, std::span<const std::byte> response) {
    return release(to, response, bare_response(tpm::RC_NV_RATE));
}

Result<Outcome> Service::settle() {
    if (HF_TRY(or_fatal(keeper_.retry())) == Outcome::PutOff) return Outcome::PutOff;
    if (engine_.has_unsaved()) return store();
    HF_TRY(or_fatal(keeper_.confirm()));
    return Outcome::Newest;
}

/// What is put off is on disk all the same, and has a version.
Result<Outcome> Service::store() {
    const Outcome outcome = HF_TRY(or_fatal(keeper_.commit(engine_.permanent().bytes())));
    engine_.saved();
    if (outcome == Outcome::PutOff) log::warn("vtpm.store_put_off");
    return outcome;
}

template <typename T>
Result<T> Service::or_fatal(Result<T> done) {
    if (!done) fatal_ = done.error();
    return done;
}

// ---- TPM commands

Result<void> Service::run_command(const UniqueFd& to, std::span<std::byte> command) {
    const Lock lock{mutex_};
    if (command.size() < kHeadBytes) return release_response(to, bare_response(tpm::RC_COMMAND_SIZE));
    if (exported_ && !HF_TRY(come_back())) return release_response(to, bare_response(tpm::RC_FAILURE));
    const CommandHead head = head_of(command);
    if (always_stores(head.code) && !HF_TRY(may_store())) {
        return release_response(to, bare_response(keeper_.is_anchored() ? tpm::RC_NV_RATE : tpm::RC_RETRY));
    }
    // Nothing is run on top of a state that was put off.
    if (HF_TRY(or_fatal(keeper_.retry())) == Outcome::PutOff) {
        return release_response(to, bare_response(tpm::RC_NV_RATE));
    }
    const auto response = HF_TRY(process(command));
    const std::uint32_t code = head_of(response).code;
    shut_down_ = head.code == tpm::CC_Shutdown && code == 0;
    if (shut_down_) da_open_ = false;
    if (code == tpm::RC_FAILURE && engine_.is_on() && !std::exchange(failed_, true)) {
        log::error("vtpm.failure_mode");
    }
    return release_response(to, response);
}

Result<OwnQuote> Service::quote(std::span<const std::byte> nonce) {
    constexpr const char* kPutOff = "the state of the vTPM cannot be made durable at the moment";
    const Lock lock{mutex_};
    if (exported_ || !engine_.is_on()) return guest_fault("the vTPM is switched off");
    if (HF_TRY(or_fatal(keeper_.retry())) == Outcome::PutOff) return guest_fault(kPutOff);
    auto own = quote_itself(tpm2::asked_by_host(nonce), [&engine = engine_](std::span<std::byte> command) {
        const auto response = engine.process(command, 0);
        return std::vector<std::byte>{response.begin(), response.end()};
    });
    if (HF_TRY(settle()) != Outcome::Newest) return guest_fault(kPutOff);
    return own;
}

Result<bool> Service::may_store() {
    if (stores_.take(1, TokenBucket::Clock::now()) == 0) return false;
    return or_fatal(keeper_.has_room());
}

// libtpms has a mark on disk before it tries an authorisation that dictionary attack protection counts, so
// that a try which a power cut hides is counted at the next start. It writes the mark, answers RETRY, and
// tries when it is asked again. We ask again ourselves; and we take the mark away as soon as the outcome
// is known, for otherwise each kill of an honest guest would count as a failed try (docs/vtpm.md,
// "Dictionary attacks"). Taking it away costs a write, so a guest that does nothing else gets it later.
Result<std::span<const std::byte>> Service::process(std::span<std::byte> command) {
    std::array<std::byte, channel::kMaxTpmBuffer> kept;  // libtpms may change the command's bytes
    const auto copy = std::span{kept}.first(std::min(command.size(), kept.size()));
    std::memcpy(copy.data(), command.data(), copy.size());
    const auto response = engine_.process(command, locality_);
    if (head_of(response).code != tpm::RC_RETRY || !engine_.has_unsaved()) return response;
    if (HF_TRY(settle()) == Outcome::PutOff) return response;
    da_open_ = true;
    const auto outcome = engine_.process(copy, locality_);
    if (da_closes_.take(1, TokenBucket::Clock::now()) == 0) return outcome;
    outcome_.assign(outcome.begin(), outcome.end());
    orderly_shutdown();
    return std::span<const std::byte>{outcome_};
}

Result<void> Service::idle() {
    const Lock lock{mutex_};
    if (!da_open_ || exported_ || !engine_.is_on()) return {};
    orderly_shutdown();
    HF_TRY(settle());
    return {};
}

Result<void> Service::refuse_command(const UniqueFd& to, std::uint32_t code) {
    const Lock lock{mutex_};
    return release_response(to, bare_response(code));
}

void Service::orderly_shutdown() {
    // CLEAR, where swtpm tries STATE first: that would let whoever starts the guest next ask for the
    // PCRs of this boot (TPM2_Startup(STATE)).
    struct {
        Be<std::uint16_t> tag = tpm::ST_NO_SESSIONS;
        Be<std::uint32_t> size = std::uint32_t{12};
        Be<std::uint32_t> code = tpm::CC_Shutdown;
        Be<std::uint16_t> type = tpm::SU_CLEAR;
    } command;
    // Refused only by a TPM that was not started, which has nothing to lose.
    engine_.process(std::as_writable_bytes(std::span{&command, 1}), 0);
    da_open_ = false;
}

// ---- power and state

Result<bool> Service::take_state() {
    auto state = HF_TRY(keeper_.open());
    if (!state) return false;
    if (start_ == Start::Create && !state->empty()) return input_error("this vTPM has a state already");
    if (start_ != Start::Create && state->empty()) return input_error("this vTPM has no state");
    engine_.load(std::move(*state));
    return true;
}

/// After a migration that did not happen: takes the state back, if nobody has gone on with it, and
/// makes what was handed out worthless.
Result<bool> Service::come_back() {
    const std::uint64_t ours = keeper_.version();
    const auto state = HF_TRY(keeper_.open());
    if (!state) return false;
    if (keeper_.version() != ours) {
        HF_TRY(keeper_.release());
        return false;
    }
    HF_TRY(store());
    exported_ = false;
    return true;
}

Result<void> Service::switch_on() {
    if (!keeper_.is_open() && !HF_TRY(take_state())) return input_error("another process serves this vTPM");
    const auto import = std::exchange(imported_, std::nullopt);
    auto resume = std::exchange(volatile_, std::nullopt);
    const bool stale =
        (import && *import != keeper_.version()) || (resume && resume->version != keeper_.version());
    if (stale) return input_error("the state of the migration is not the newest one");
    if (resume) engine_.load_volatile(std::move(resume->plain));
    HF_TRY(
        engine_.power_on(start_ == Start::Create ? Engine::Missing::Manufacture : Engine::Missing::Refuse));
    shut_down_ = failed_ = false;
    da_open_ = resume.has_value();  // perhaps
    if (!resume) return {};
    // Used once: with the next version on disk, the volatile state fits no more.
    HF_TRY(store());
    return {};
}

/// What is put off then was never answered for: the next start goes on with it, or with what was before it.
Result<void> Service::switch_off() {
    if (exported_) {  // the state is somebody else's now
        engine_.saved();
        exported_ = false;
    } else if (engine_.is_on() && !shut_down_) {
        orderly_shutdown();
    }
    HF_TRY(settle());
    engine_.power_off();
    return {};
}

Result<void> Service::client_gone() {
    cancel();
    const Lock lock{mutex_};
    locality_ = 0;
    imported_.reset();
    volatile_.reset();
    HF_TRY(switch_off());
    engine_.buffer_size(channel::kMaxTpmBuffer);
    return {};
}

Result<void> Service::init(const UniqueFd& to) {
    cancel();
    const Lock lock{mutex_};
    HF_TRY(switch_off());
    if (const auto on = switch_on(); !on) {
        if (fatal_) return *fatal_;
        log::error("vtpm.not_switched_on", on.error());
        return release(to, result::FAIL);
    }
    return release(to, result::SUCCESS);
}

Result<void> Service::stop(const UniqueFd& to) {
    cancel();
    const Lock lock{mutex_};
    HF_TRY(switch_off());
    return release(to, result::SUCCESS);
}

Result<void> Service::lock_storage(const UniqueFd& to, std::uint32_t retries) {
    const Lock lock{mutex_};
    for (std::uint32_t i = 0;; ++i) {
        if (!exported_ && keeper_.is_open()) return release(to, result::SUCCESS);
        if (exported_ ? HF_TRY(come_back()) : HF_TRY(take_state())) continue;
        if (i == std::min(retries, kMostRetries)) return release(to, result::FAIL);
        std::this_thread::sleep_for(kLockRetry);
    }
}

// ---- the rest of the control channel

Result<void> Service::answer(const UniqueFd& to, std::uint32_t result) {
    const Lock lock{mutex_};
    return release(to, result);
}

Result<void> Service::cancel_command(const UniqueFd& to) {
    cancel();
    return channel::send_within(to, bytes_of(wire::Result{result::SUCCESS}), kSendLimit);
}

Result<void> Service::capability(const UniqueFd& to) {
    const Lock lock{mutex_};
    return release(to, bytes_of(wire::Capability{.result = result::SUCCESS, .capabilities = kCapabilities}));
}

Result<void> Service::established(const UniqueFd& to) {
    const Lock lock{mutex_};
    const auto bit = static_cast<std::uint8_t>(engine_.established());
    return release(to, bytes_of(wire::Established{.result = result::SUCCESS, .bit = bit, .zero = {}}));
}

Result<void> Service::reset_established(const UniqueFd& to, std::uint8_t locality) {
    const Lock lock{mutex_};
    if (locality > channel::kMaxLocality) return release(to, result::BAD_LOCALITY);
    return release(to, engine_.reset_established(locality) ? result::SUCCESS : result::FAIL);
}

Result<void> Service::set_locality(const UniqueFd& to, std::uint8_t locality) {
    const Lock lock{mutex_};
    if (locality > channel::kMaxLocality) return release(to, result::BAD_LOCALITY);
    locality_ = locality;
    return release(to, result::SUCCESS);
}

Result<void> Service::hash_start(const UniqueFd& to) {
    const Lock lock{mutex_};
    return release(to, engine_.hash_start() ? result::SUCCESS : result::FAIL);
}

Result<void> Service::hash_data(const UniqueFd& to, std::span<const std::byte> bytes) {
    const Lock lock{mutex_};
    return release(to, engine_.hash_data(bytes) ? result::SUCCESS : result::FAIL);
}

Result<void> Service::hash_end(const UniqueFd& to) {
    const Lock lock{mutex_};
    return release(to, engine_.hash_end() ? result::SUCCESS : result::FAIL);
}

Result<std::vector<std::byte>> Service::export_blob(channel::BlobType type) {
    if (!engine_.is_on() || exported_) return guest_fault("the TPM is off");
    if (keeper_.is_anchored()) return guest_fault("an anchored vTPM does not migrate in this version");
    HF_TRY(settle());  // never put off: only an anchor does that
    if (type == channel::BlobType::Permanent) {
        return keeper_.seal(SealedType::Permanent, engine_.permanent().bytes());
    }
    if (type == channel::BlobType::SaveState) return std::vector<std::byte>{};
    const auto state = HF_TRY(engine_.volatile_state());
    auto sealed = HF_TRY(keeper_.seal(SealedType::Volatile, state.bytes()));
    // From here on the other side may go on with it, so we do not, unless we get the state back.
    HF_TRY(keeper_.release());
    exported_ = true;
    return sealed;
}

Result<void> Service::get_blob(const UniqueFd& to, std::uint32_t type, std::uint32_t offset) {
    const Lock lock{mutex_};
    const auto refuse = [&](std::uint32_t code) HF_REQUIRES(mutex_) {
        return release(
            to, bytes_of(wire::GetBlobAnswer{.result = code, .flags = {}, .total_length = {}, .length = {}}));
    };
    const bool known = type >= static_cast<std::uint32_t>(channel::BlobType::Permanent) &&
                       type <= static_cast<std::uint32_t>(channel::BlobType::SaveState);
    // Each sealing gives other bytes, so a blob can be had as a whole only. QEMU asks for no parts.
    if (!known || offset != 0) return refuse(result::BAD_PARAMETER);
    if (type == static_cast<std::uint32_t>(channel::BlobType::SaveState)) return refuse(result::SUCCESS);
    const auto sealed = export_blob(static_cast<channel::BlobType>(type));
    if (!sealed) {
        if (fatal_) return *fatal_;
        log::warn("vtpm.no_blob", sealed.error());
        return refuse(engine_.is_on() ? result::FAIL : result::BAD_ORDINAL);
    }
    const auto length = static_cast<std::uint32_t>(sealed->size());
    const wire::GetBlobAnswer head{.result = result::SUCCESS,
                                   .flags = channel::kBlobEncrypted,
                                   .total_length = length,
                                   .length = length};
    std::vector<std::byte> reply(sizeof head + sealed->size());
    std::memcpy(reply.data(), &head, sizeof head);
    std::memcpy(reply.data() + sizeof head, sealed->data(), sealed->size());
    return release(to, reply);
}

Result<void> Service::set_blob(const UniqueFd& to, std::uint32_t type, std::span<const std::byte> sealed) {
    const Lock lock{mutex_};
    if (engine_.is_on()) return release(to, result::BAD_ORDINAL);
    const bool permanent = type == static_cast<std::uint32_t>(channel::BlobType::Permanent);
    if (!permanent && type != static_cast<std::uint32_t>(channel::BlobType::Volatile)) {
        return release(to, sealed.empty() ? result::SUCCESS : result::BAD_PARAMETER);
    }
    auto opened = keeper_.unseal(permanent ? SealedType::Permanent : SealedType::Volatile, sealed);
    if (!opened) {
        log::warn("vtpm.blob_refused", opened.error());
        return release(to, result::FAIL);
    }
    // The permanent state itself is read from the store, which both sides of a migration share.
    if (permanent) imported_ = opened->version;
    else volatile_ = std::move(*opened);
    return release(to, result::SUCCESS);
}

Result<void> Service::buffer_size(const UniqueFd& to, std::uint32_t wanted) {
    const Lock lock{mutex_};
    if (wanted != 0 && engine_.is_on()) return release(to, result::BAD_ORDINAL);
    const auto size = engine_.buffer_size(wanted);
    return release(to, bytes_of(wire::BufferSizeAnswer{
                           .result = result::SUCCESS, .size = size.size, .min = size.min, .max = size.max}));
}

Result<void> Service::config(const UniqueFd& to) {
    const Lock lock{mutex_};
    return release(to, bytes_of(wire::Config{.result = result::SUCCESS, .flags = kConfigKeys}));
}

}  // namespace holdfast::vtpm
