// SPDX-License-Identifier: Apache-2.0
#include "vtpm/anchor/refusal.hpp"

namespace holdfast::anchor {

RefusalWords words_of(Refused state) noexcept {
    switch (state) {
        case Refused::NotInitialized:
            return {"not_initialized", "this host has no anchor yet", "holdfast anchor init"};
        case Refused::TpmUnreachable:
            return {"tpm_unreachable", "the host's TPM does not answer, or not as a TPM does",
                    "check /dev/tpmrm0, or the software TPM that --tcti names; then start again"};
        case Refused::TpmSwapped:
            return {"tpm_swapped", "this TPM's endorsement key is not the one pinned at init",
                    "put the old TPM back; if it is gone, so are the keys of what it anchored"};
        case Refused::KeysLocked:
            return {"keys_locked",
                    "the TPM does not release the anchor's keys: PCRs changed, or it was cleared",
                    "boot the software that was measured at init, or serve --approval FILE (docs/anchor.md, "
                    "\"When "
                    "firmware is updated\"); a TPM that was cleared has taken the keys with it"};
        case Refused::CounterMissing:
            return {"counter_missing",
                    "a counter is not in the TPM any more: it was deleted, or the TPM cleared",
                    "nothing written before can be proven the newest: a new anchor, with new vTPMs"};
        case Refused::CounterReplaced:
            return {"counter_replaced", "a counter was deleted and made anew with other properties",
                    "nothing written before can be proven the newest: a new anchor, with new vTPMs"};
        case Refused::CounterTaken:
            return {
                "counter_taken",
                "no authValue that this anchor knows opens its counters: another anchor took over, its key "
                "file is old, or a counter was deleted and made anew",
                "run one anchor on this host, with the newest key file; there is no other way back"};
        case Refused::LogMissing:
            return {"log_missing", "the log holds no record of this anchor",
                    "restore the newest log; an older one will be refused"};
        case Refused::LogOld:
            return {"log_old", "the log ends before the TPM's counter: it is an old copy, or lost its end",
                    "restore the newest log; without it nothing can be proven the newest"};
        case Refused::LogDamaged:
            return {"log_damaged", "a record in the log does not authenticate and those behind it are lost",
                    "restore the newest log; without it nothing can be proven the newest"};
        case Refused::TpmWentBack:
            return {"tpm_went_back",
                    "the log is ahead of the TPM's counter, which no real TPM allows: a software "
                    "TPM was restored",
                    "restore the software TPM's newest state"};
        case Refused::PowerLoss:
            return {"power_loss", "the TPM lost power and its counter jumped over records that are not there",
                    "restore the newest log; or start with --power-loss adopt: falls back to the last "
                    "checkpoint, and every vTPM shows a gap to its verifiers"};
        case Refused::Disk:
            return {"disk", "the anchor's files cannot be read or written",
                    "mend the disk; what was acknowledged is not lost unless it was on what broke"};
        case Refused::TpmForged:
            return {"tpm_forged", "an answer that is not the TPM's own, or not to what was asked just now",
                    "look at what is between this host and its TPM; then start again"};
    }
    return {"unknown", "", ""};
}

}  // namespace holdfast::anchor
