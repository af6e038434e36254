// SPDX-License-Identifier: Apache-2.0
#include "vtpm/engine/engine.hpp"

#include <array>
#include <cstdlib>
#include <cstring>
#include <string_view>

extern "C" {
#include <libtpms/tpm_error.h>
#include <libtpms/tpm_library.h>
#include <libtpms/tpm_memory.h>
#include <libtpms/tpm_nvfilename.h>
#include <libtpms/tpm_tis.h>
}

#include "sys/secret.hpp"

namespace holdfast::vtpm {
namespace {

// libtpms' callbacks have no user pointer, so the engine that they mean is a global like the library.
Engine* the_engine = nullptr;

// A whole response that says TPM_RC_FAILURE, for a TPM that is off (libtpms then answers nothing).
constexpr std::array<unsigned char, 10> kFailure{0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x01};

// More than any permanent state of libtpms 0.9 (its NV memory is 128 KiB), less than a slot holds.
constexpr std::uint32_t kMaxPermanent = 192U << 10;

Result<void> of(TPM_RESULT result, const char* what) {
    if (result == TPM_SUCCESS) return {};
    return Error{Fault::Guest, 0, what};
}

}  // namespace

struct Callbacks {
    static TPM_RESULT nothing() { return TPM_SUCCESS; }

    static TPM_RESULT load(unsigned char** data, std::uint32_t* length, std::uint32_t /*tpm*/,
                           const char* name) {
        const std::string_view wanted{name};
        // TPM_RETRY means "there is none", and for the permanent state "make a new TPM".
        const StateBlob* blob = nullptr;
        if (wanted == TPM_PERMANENT_ALL_NAME) blob = &the_engine->permanent_;
        if (wanted == TPM_VOLATILESTATE_NAME) blob = &the_engine->volatile_;
        if (blob == nullptr || blob->empty()) return TPM_RETRY;
        const auto bytes = blob->bytes();
        if (TPM_Malloc(data, static_cast<std::uint32_t>(bytes.size())) != TPM_SUCCESS) return TPM_FAIL;
        std::memcpy(*data, bytes.data(), bytes.size());
        *length = static_cast<std::uint32_t>(bytes.size());
        return TPM_SUCCESS;
    }

    // Copies only. What must not leave before the state is durable is the reply, and that has a gate
    // of its own: a failure here would put the TPM into failure mode for good.
    static TPM_RESULT store(const unsigned char* data, std::uint32_t length, std::uint32_t /*tpm*/,
                            const char* name) {
        if (std::string_view{name} != TPM_PERMANENT_ALL_NAME) return TPM_SUCCESS;
        if (length > kMaxPermanent) return TPM_FAIL;
        the_engine->permanent_ = StateBlob{std::as_bytes(std::span{data, length})};
        the_engine->unsaved_ = true;
        return TPM_SUCCESS;
    }

    static TPM_RESULT remove(std::uint32_t /*tpm*/, const char* name, TPM_BOOL /*must_exist*/) {
        if (std::string_view{name} == TPM_VOLATILESTATE_NAME) the_engine->volatile_ = StateBlob{};
        return TPM_SUCCESS;
    }

    static TPM_RESULT locality(TPM_MODIFIER_INDICATOR* locality, std::uint32_t /*tpm*/) {
        *locality = the_engine->locality_;
        return TPM_SUCCESS;
    }

    static TPM_RESULT presence(TPM_BOOL* presence, std::uint32_t /*tpm*/) {
        *presence = FALSE;
        return TPM_SUCCESS;
    }
};

Result<std::unique_ptr<Engine>> Engine::create() {
    check(the_engine == nullptr, "a second TPM engine in one process");
    std::unique_ptr<Engine> engine{new Engine};
    the_engine = engine.get();
    HF_TRY(of(TPMLIB_ChooseTPMVersion(TPMLIB_TPM_VERSION_2), "choose TPM 2.0"));
    libtpms_callbacks callbacks{
        .sizeOfStruct = sizeof(libtpms_callbacks),
        .tpm_nvram_init = &Callbacks::nothing,
        .tpm_nvram_loaddata = &Callbacks::load,
        .tpm_nvram_storedata = &Callbacks::store,
        .tpm_nvram_deletename = &Callbacks::remove,
        .tpm_io_init = &Callbacks::nothing,
        .tpm_io_getlocality = &Callbacks::locality,
        .tpm_io_getphysicalpresence = &Callbacks::presence,
    };
    HF_TRY(of(TPMLIB_RegisterCallbacks(&callbacks), "register with libtpms"));
    return engine;
}

Engine::~Engine() {
    power_off();
    std::free(response_);
    the_engine = nullptr;
}

void Engine::load(StateBlob permanent) {
    permanent_ = std::move(permanent);
    unsaved_ = false;
}

Result<void> Engine::power_on(Missing missing) {
    power_off();
    if (permanent_.empty() && missing == Missing::Refuse) return input_error("there is no TPM state");
    const TPM_RESULT result = TPMLIB_MainInit();
    // Used up in any case: an old one would be a rollback of PCRs.
    volatile_ = StateBlob{};
    if (result != TPM_SUCCESS) {
        TPMLIB_Terminate();
        return Error{Fault::Input, 0, "libtpms does not accept the TPM state"};
    }
    on_ = true;
    return {};
}

void Engine::power_off() {
    if (!on_) return;
    TPMLIB_Terminate();
    on_ = false;
}

std::span<const std::byte> Engine::process(std::span<std::byte> command, std::uint8_t locality) {
    if (!on_) return std::as_bytes(std::span{kFailure});
    locality_ = locality;
    std::uint32_t size = 0;
    inside_.store(true, std::memory_order_release);
    // SAFETY: bytes as unsigned char, for a C interface.
    const TPM_RESULT result = TPMLIB_Process(&response_, &size, &response_capacity_,
                                             reinterpret_cast<unsigned char*>(command.data()),
                                             static_cast<std::uint32_t>(command.size()));
    inside_.store(false, std::memory_order_release);
    if (result != TPM_SUCCESS || size < kFailure.size()) return std::as_bytes(std::span{kFailure});
    return std::as_bytes(std::span{response_, size});
}

void Engine::cancel() noexcept {
    // Process() forgets it on entry, so one that comes a little early is lost like one that is late.
    if (inside_.load(std::memory_order_acquire)) TPMLIB_CancelCommand();
}

Result<StateBlob> Engine::volatile_state() {
    if (!on_) return guest_fault("the TPM is off");
    unsigned char* bytes = nullptr;
    std::uint32_t size = 0;
    HF_TRY(of(TPMLIB_VolatileAll_Store(&bytes, &size), "read the volatile state"));
    StateBlob blob{std::as_bytes(std::span{bytes, size})};
    wipe(std::as_writable_bytes(std::span{bytes, size}));
    std::free(bytes);
    return blob;
}

bool Engine::established() const {
    TPM_BOOL bit = FALSE;
    return on_ && TPM_IO_TpmEstablished_Get(&bit) == TPM_SUCCESS && bit != FALSE;
}

Result<void> Engine::reset_established(std::uint8_t locality) {
    if (!on_) return guest_fault("the TPM is off");
    locality_ = locality;
    return of(TPM_IO_TpmEstablished_Reset(), "reset the established bit");
}

Result<void> Engine::hash_start() {
    if (!on_) return guest_fault("the TPM is off");
    return of(TPM_IO_Hash_Start(), "start a hash sequence");
}

Result<void> Engine::hash_data(std::span<const std::byte> bytes) {
    if (!on_) return guest_fault("the TPM is off");
    // SAFETY: bytes as unsigned char, for a C interface.
    return of(TPM_IO_Hash_Data(reinterpret_cast<const unsigned char*>(bytes.data()),
                               static_cast<std::uint32_t>(bytes.size())),
              "add to a hash sequence");
}

Result<void> Engine::hash_end() {
    if (!on_) return guest_fault("the TPM is off");
    return of(TPM_IO_Hash_End(), "end a hash sequence");
}

Engine::BufferSize Engine::buffer_size(std::uint32_t wanted) {
    BufferSize answer;
    answer.size = TPMLIB_SetBufferSize(wanted, &answer.min, &answer.max);
    return answer;
}

}  // namespace holdfast::vtpm
