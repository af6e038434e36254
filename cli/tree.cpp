// SPDX-License-Identifier: Apache-2.0
#include "cli/tree.hpp"

#include "bench/conductor/suites.hpp"

namespace holdfast::cli {
namespace {

template <typename Options>
Options& options_of(Invocation& out) {
    return std::get<Options>(out.verb);
}

// The verb that was typed becomes the one alternative before its flags are stored.
template <typename Options>
CLI::App* add_verb(CLI::App& app, Invocation& out, const char* name, const char* help) {
    CLI::App* const verb = app.add_subcommand(name, help);
    verb->preparse_callback([&out](std::size_t) { out.verb = Options{}; });
    return verb;
}

template <typename Options, typename T>
CLI::Option* add_value(CLI::App* verb, Invocation& out, const std::string& name, T Options::* member,
                       const std::string& help) {
    return verb->add_option_function<T>(
        name, [&out, member](const T& value) { options_of<Options>(out).*member = value; }, help);
}

template <typename Options>
void add_flag(CLI::App* verb, Invocation& out, const std::string& name, bool Options::* member,
              const std::string& help) {
    verb->add_flag_callback(name, [&out, member] { options_of<Options>(out).*member = true; }, help);
}

template <typename Options>
void add_name(CLI::App* verb, Invocation& out, const char* help = "the VM's name") {
    add_value<Options>(verb, out, "name", &Options::name, help)->required()->type_name("NAME");
}

// `setting` is a row of the table, which lives as long as the program.
template <typename Options>
void add_setting(CLI::App* verb, Invocation& out, const Setting& setting, const char* name_flag = "name") {
    const std::string name{setting.name};
    const std::string flag = name == "name" ? name_flag : "--" + name;
    const std::string help{setting.help};
    const auto store = [&out, &setting](const std::vector<std::string>& values) {
        options_of<Options>(out).settings[std::string{setting.name}] = values;
    };
    switch (setting.kind) {
        case SettingKind::Flag: verb->add_flag_callback(flag, [store] { store({"true"}); }, help); break;
        case SettingKind::Text:
        case SettingKind::Number:
            verb->add_option_function<std::string>(
                    flag, [store](const std::string& value) { store({value}); }, help)
                ->type_name(std::string{setting.value});
            break;
        case SettingKind::List:
            verb->add_option_function<std::vector<std::string>>(flag, store, help)
                ->type_name(std::string{setting.value})
                ->allow_extra_args(false);
            break;
    }
}

void declare_run(CLI::App& app, Invocation& out) {
    CLI::App* const run = add_verb<RunOptions>(app, out, "run", "launch a VM; its console is this terminal");
    for (const Setting& setting : setting_table()) add_setting<RunOptions>(run, out, setting);
    add_value<RunOptions>(run, out, "--config", &RunOptions::config,
                          "read settings from a TOML file: the names of these flags; flags go before it")
        ->type_name("VM.toml");
    add_flag<RunOptions>(run, out, "--detach", &RunOptions::detach,
                         "return when the guest runs, and leave it running");
    add_flag<RunOptions>(run, out, "--json", &RunOptions::json, "with --detach: print one JSON object");
    add_value<RunOptions>(
        run, out, "--report-fd", &RunOptions::report_fd,
        "without --detach: write the JSON object of --detach to this open descriptor when the "
        "guest is about to run, and close it")
        ->type_name("N")
        ->check(CLI::Range(3, 65535));
}

void declare_measure(CLI::App& app, Invocation& out) {
    CLI::App* const measure = add_verb<MeasureOptions>(
        app, out, "measure",
        "the launch digest to expect of a VM with these flags of run, without launching it");
    for (const Setting& setting : setting_table()) add_setting<MeasureOptions>(measure, out, setting);
    add_value<MeasureOptions>(measure, out, "--config", &MeasureOptions::config,
                              "read settings from a TOML file, as run does")
        ->type_name("VM.toml");
    add_value<MeasureOptions>(
        measure, out, "--diff", &MeasureOptions::diff,
        "print the first component in which the launch that this evidence (holdfast attest) "
        "states differs; exit status 1 if one does")
        ->type_name("FILE");
    add_flag<MeasureOptions>(measure, out, "--json", &MeasureOptions::json, "print one JSON object");
    measure->add_flag_callback(
        "--snp", [&out] { options_of<MeasureOptions>(out).snp.wanted = true; },
        "instead: the SEV-SNP digest of a guest that another VMM launches with OVMF, by the flags below, "
        "--kernel "
        "and --initrd");
    struct Flag {
        const char* name;
        const char* value;
        std::string SnpOptions::* member;
        const char* help;
    };
    for (const Flag& flag : {
             Flag{"--ovmf", "FILE", &SnpOptions::ovmf, "firmware image"},
             Flag{"--vcpus", "N", &SnpOptions::vcpus, "virtual CPUs, 1 to 512"},
             Flag{"--vcpu-type", "TYPE", &SnpOptions::vcpu_type,
                  "CPU model as QEMU names it: EPYC-v4, EPYC-Milan"},
             Flag{"--vcpu-sig", "N", &SnpOptions::vcpu_sig, "or its signature: 0x800f12"},
             Flag{"--vcpu-family", "N", &SnpOptions::vcpu_family, "or its family, with model and stepping"},
             Flag{"--vcpu-model", "N", &SnpOptions::vcpu_model, "see --vcpu-family"},
             Flag{"--vcpu-stepping", "N", &SnpOptions::vcpu_stepping, "see --vcpu-family"},
             Flag{"--append", "TEXT", &SnpOptions::append, "kernel command line, with --kernel"},
             Flag{"--guest-features", "N", &SnpOptions::guest_features,
                  "SEV_FEATURES as the VMM gives them to KVM, and 1 (default 0x1)"},
             Flag{"--vmm-type", "VMM", &SnpOptions::vmm_type, "who launches: QEMU (default), ec2 or gce"},
             Flag{"--snp-ovmf-hash", "HEX", &SnpOptions::ovmf_hash,
                  "digest after the pages of the firmware, instead of those of --ovmf"},
         }) {
        measure
            ->add_option_function<std::string>(
                flag.name,
                [&out, member = flag.member](const std::string& value) {
                    options_of<MeasureOptions>(out).snp.*member = value;
                },
                flag.help)
            ->type_name(flag.value);
    }
}

void declare_others(CLI::App& app, Invocation& out) {
    CLI::App* const list = add_verb<ListOptions>(app, out, "list", "show the VMs of this user");
    add_flag<ListOptions>(list, out, "--json", &ListOptions::json, "print a JSON array");

    CLI::App* const status =
        add_verb<StatusOptions>(app, out, "status", "what one VM does, and what protects it");
    add_name<StatusOptions>(status, out);
    add_flag<StatusOptions>(status, out, "--json", &StatusOptions::json, "print one JSON object");

    CLI::App* const top =
        add_verb<TopOptions>(app, out, "top", "all VMs and their memory, once a second, until q");
    add_flag<TopOptions>(top, out, "--json", &TopOptions::json, "print one JSON array, once");

    CLI::App* const console = add_verb<ConsoleOptions>(
        app, out, "console", "connect this terminal to a VM's console; Ctrl-A x leaves");
    add_name<ConsoleOptions>(console, out);

    CLI::App* const logs = add_verb<LogsOptions>(app, out, "logs", "show what a VM's processes have logged");
    add_name<LogsOptions>(logs, out);
    add_flag<LogsOptions>(logs, out, "--follow", &LogsOptions::follow, "go on until the VM ends");
    add_flag<LogsOptions>(logs, out, "--console", &LogsOptions::console,
                          "what the guest wrote on its console instead");

    CLI::App* const stop = add_verb<StopOptions>(
        app, out, "stop", "press a VM's power button, and end it hard after a deadline");
    add_name<StopOptions>(stop, out);
    add_value<StopOptions>(stop, out, "--timeout", &StopOptions::timeout_seconds,
                           "the deadline in seconds, with or without an s (default 30)")
        ->transform([](const std::string& text) -> std::string {
            return text.ends_with('s') ? text.substr(0, text.size() - 1) : text;
        })
        ->type_name("SECONDS");

    CLI::App* const kill = add_verb<KillOptions>(app, out, "kill", "end a VM at once");
    add_name<KillOptions>(kill, out);

    CLI::App* const doctor = add_verb<DoctorOptions>(
        app, out, "doctor", "what this host can do, what it cannot, why, and the fix");
    add_flag<DoctorOptions>(doctor, out, "--json", &DoctorOptions::json, "print one JSON object");
}

void declare_vtpm(CLI::App& app, Invocation& out) {
    CLI::App& vtpm = *app.add_subcommand("vtpm", "make vTPMs, and serve them to QEMU and libvirt");
    vtpm.require_subcommand(1);
    constexpr const char* kName = "the vTPM's name";

    CLI::App* const create = add_verb<VtpmCreateOptions>(
        vtpm, out, "create", "make a vTPM with endorsement keys certified by this host");
    add_name<VtpmCreateOptions>(create, out, kName);
    add_value<VtpmCreateOptions>(
        create, out, "--tenant-key", &VtpmCreateOptions::tenant_key,
        "on a host with an anchor: the public key (PEM, Ed25519 or P-256) of who may sign "
        "that a lost state is accepted; without one nobody may")
        ->type_name("FILE");
    add_flag<VtpmCreateOptions>(create, out, "--json", &VtpmCreateOptions::json, "print one JSON object");

    CLI::App* const list = add_verb<VtpmListOptions>(vtpm, out, "list", "show this host's vTPMs");
    add_flag<VtpmListOptions>(list, out, "--json", &VtpmListOptions::json, "print a JSON array");

    CLI::App* const serve = add_verb<VtpmServeOptions>(
        vtpm, out, "serve", "serve a vTPM at a Unix socket until a signal; prints `ready`");
    add_name<VtpmServeOptions>(serve, out, kName);
    add_value<VtpmServeOptions>(serve, out, "--socket", &VtpmServeOptions::socket,
                                "where QEMU's chardev or libvirt's external backend connects")
        ->required()
        ->type_name("PATH");
    add_flag<VtpmServeOptions>(serve, out, "--incoming", &VtpmServeOptions::incoming,
                               "for a migration's destination: take the state when it arrives");
    add_flag<VtpmServeOptions>(serve, out, "--strict", &VtpmServeOptions::strict,
                               "anchored, and each store survives a power cut; costs a flash write of the "
                               "host's TPM each");

    CLI::App* const remove = add_verb<VtpmRemoveOptions>(vtpm, out, "remove", "destroy a vTPM for ever");
    add_name<VtpmRemoveOptions>(remove, out, kName);
}

void declare_anchor(CLI::App& app, Invocation& out) {
    CLI::App* const anchor = add_verb<AnchorOptions>(
        app, out, "anchor", "this host's anchor: keeps every vTPM's state from being rolled back");
    add_value<AnchorOptions>(
        anchor, out, "action", &AnchorOptions::action,
        "init makes it, serve runs it, status says how it is, checkpoint makes one now, "
        "reanchor lets a vTPM go on from a state that is not the newest, if its tenant signs")
        ->required()
        ->check(CLI::IsMember(std::vector<std::string>{"init", "serve", "status", "checkpoint", "reanchor"}))
        ->type_name("init|serve|status|checkpoint|reanchor");
    add_value<AnchorOptions>(anchor, out, "vtpm", &AnchorOptions::vtpm, "reanchor: the vTPM's name")
        ->type_name("NAME");
    add_value<AnchorOptions>(anchor, out, "--statement", &AnchorOptions::statement,
                             "reanchor: write here what the tenant has to sign")
        ->type_name("FILE");
    add_value<AnchorOptions>(anchor, out, "--signature", &AnchorOptions::signature,
                             "reanchor: the tenant's signature of it")
        ->type_name("FILE");
    add_value<AnchorOptions>(anchor, out, "--tenant-key", &AnchorOptions::tenant_key,
                             "reanchor: the public key, in PEM, that the vTPM was made with")
        ->type_name("FILE");
    add_value<AnchorOptions>(anchor, out, "--tcti", &AnchorOptions::tcti,
                             "init: the TPM, as device:PATH, swtpm:path=SOCKET or swtpm:host=IPV4,port=N "
                             "(default device:/dev/tpmrm0)")
        ->type_name("CONF");
    add_value<AnchorOptions>(anchor, out, "--pcrs", &AnchorOptions::pcrs,
                             "init: the PCRs that its keys are sealed under (default 0,7)")
        ->type_name("LIST");
    add_value<AnchorOptions>(anchor, out, "--update-key", &AnchorOptions::update_key,
                             "init: a public key of ECDSA P-256, in PEM, that may approve other PCRs later")
        ->type_name("FILE");
    add_value<AnchorOptions>(anchor, out, "--approval", &AnchorOptions::approval,
                             "serve: the update key's signature of the PCR policy as it is now")
        ->type_name("FILE");
    add_value<AnchorOptions>(
        anchor, out, "--power-loss", &AnchorOptions::power_loss,
        "serve: after a power cut that lost records, refuse, or adopt the last checkpoint and mark "
        "every vTPM (default refuse)")
        ->check(CLI::IsMember(std::vector<std::string>{"refuse", "adopt"}))
        ->type_name("refuse|adopt");
    add_value<AnchorOptions>(anchor, out, "--daily-budget", &AnchorOptions::daily_budget,
                             "serve: flash writes of the TPM a day, 0 for no limit (default 200)")
        ->type_name("N");
    add_value<AnchorOptions>(anchor, out, "--stores-a-second", &AnchorOptions::stores_a_second,
                             "serve: of one vTPM, ten times as many at once, 0 for no limit (default 20)")
        ->type_name("N");
    add_flag<AnchorOptions>(anchor, out, "--json", &AnchorOptions::json, "print one JSON object");
}

void declare_libvirt(CLI::App& app, Invocation& out) {
    CLI::App& libvirt = *app.add_subcommand("libvirt", "domains of libvirt whose emulator is holdfast-qemu");
    libvirt.require_subcommand(1);
    constexpr const char* kEmulator = "the path of holdfast-qemu (default beside this program)";

    CLI::App* const domain = add_verb<LibvirtDomainOptions>(
        libvirt, out, "domain", "print domain XML for virsh define, from these flags of run");
    for (const Setting& setting : setting_table()) {
        if (setting.name == "paused") continue;  // virsh start --paused
        add_setting<LibvirtDomainOptions>(domain, out, setting, "--name");
    }
    add_value<LibvirtDomainOptions>(domain, out, "--config", &LibvirtDomainOptions::config,
                                    "read settings from a TOML file, as run does")
        ->type_name("VM.toml");
    add_value<LibvirtDomainOptions>(domain, out, "--emulator", &LibvirtDomainOptions::emulator, kEmulator)
        ->type_name("PATH");

    CLI::App* const check = add_verb<LibvirtCheckOptions>(
        libvirt, out, "check", "what of this host stands in the way of such domains, and the fix");
    add_value<LibvirtCheckOptions>(check, out, "--emulator", &LibvirtCheckOptions::emulator, kEmulator)
        ->type_name("PATH");

    CLI::App* const install = add_verb<LibvirtInstallOptions>(
        libvirt, out, "install",
        "set this host's libvirt up for such domains: show how, or do it with --yes");
    add_value<LibvirtInstallOptions>(install, out, "--emulator", &LibvirtInstallOptions::emulator, kEmulator)
        ->type_name("PATH");
    add_flag<LibvirtInstallOptions>(install, out, "--yes", &LibvirtInstallOptions::yes, "change it");
    add_flag<LibvirtInstallOptions>(install, out, "--remove", &LibvirtInstallOptions::remove,
                                    "take back what install has changed");

    CLI::App* const hook = add_verb<LibvirtHookOptions>(
        libvirt, out, "hook",
        "fail if the domain XML on standard input asks for devices that the device policy forbids");
    add_value<LibvirtHookOptions>(hook, out, "--policy", &LibvirtHookOptions::policy,
                                  "the device policy (default /etc/holdfast/devices.toml)")
        ->type_name("FILE");
}

void declare_verify(CLI::App& app, Invocation& out) {
    CLI::App* const verify = add_verb<VerifyOptions>(app, out, "verify",
                                                     "whether a piece of evidence is what a policy asks for; "
                                                     "exit status 0 accepted, 1 refused, 2 unreadable");
    add_value<VerifyOptions>(verify, out, "file", &VerifyOptions::file, "the piece of evidence")
        ->required()
        ->type_name("FILE");
    add_value<VerifyOptions>(
        verify, out, "--format", &VerifyOptions::format,
        "what it is, if not all that holdfast attest has collected: tpm-quote (TPMS_ATTEST; with "
        "--signature, --key, --pcrs), nv-certify (with "
        "--signature, --key, --nv-public), event-log, ima-log or ccel (with --pcrs, unless the "
        "policy has the values), snp-report (with --certificate), tdx-quote")
        ->check(CLI::IsMember(std::vector<std::string>{"tpm-quote", "nv-certify", "event-log", "ima-log",
                                                       "ccel", "snp-report", "tdx-quote"}))
        ->type_name("FORMAT");
    add_value<VerifyOptions>(verify, out, "--policy", &VerifyOptions::policy, "what to accept, in TOML")
        ->required()
        ->type_name("FILE.toml");
    struct Flag {
        const char* name;
        const char* value;
        std::string VerifyOptions::* member;
        const char* help;
    };
    for (const Flag& flag : {
             Flag{"--nonce", "HEX", &VerifyOptions::nonce,
                  "what the evidence must hold to be fresh; without one it is refused, logs excepted"},
             Flag{"--at", "TIME", &VerifyOptions::at,
                  "the time to verify at, in UTC: 2026-06-01T00:00:00Z (default now)"},
             Flag{"--signature", "FILE", &VerifyOptions::signature, "TPMT_SIGNATURE of the statement"},
             Flag{"--key", "FILE", &VerifyOptions::key,
                  "the attestation key: TPMT_PUBLIC, TPM2B_PUBLIC, or a public key in PEM or DER"},
             Flag{"--certificate", "FILE", &VerifyOptions::certificate,
                  "of the signing key, perhaps with its chain, in PEM or DER; of an SNP report the VCEK or "
                  "VLEK"},
             Flag{"--pcrs", "FILE", &VerifyOptions::pcrs,
                  "PCR values, as tpm2_pcrread prints them or in JSON: {\"sha256\": {\"0\": hex}}"},
             Flag{"--event-log", "FILE", &VerifyOptions::event_log,
                  "with a quote: the firmware's event log; with a TDX quote the CCEL log"},
             Flag{"--ima-log", "FILE", &VerifyOptions::ima_log,
                  "with a quote: the IMA list, ASCII or binary"},
             Flag{"--nv-public", "FILE", &VerifyOptions::nv_public,
                  "TPMS_NV_PUBLIC or TPM2B_NV_PUBLIC of the counter that is expected"},
             Flag{"--html", "FILE", &VerifyOptions::html,
                  "of all evidence: write the verdict as a page as well"},
             Flag{"--collateral", "FILE", &VerifyOptions::collateral,
                  "with a TDX quote: TCB info, QE identity and revocation lists in one JSON file"},
         }) {
        add_value<VerifyOptions>(verify, out, flag.name, flag.member, flag.help)->type_name(flag.value);
    }
    add_value<VerifyOptions>(
        verify, out, "--chain", &VerifyOptions::chain,
        "certificates between --certificate and the policy's roots; again for more files")
        ->type_name("FILE")
        ->allow_extra_args(false);
    add_value<VerifyOptions>(verify, out, "--crl", &VerifyOptions::crls,
                             "a revocation list; again for more files")
        ->type_name("FILE")
        ->allow_extra_args(false);
    add_flag<VerifyOptions>(verify, out, "--json", &VerifyOptions::json, "print one JSON object");
}

void declare_enroll(CLI::App& app, Invocation& out) {
    CLI::App* const enroll = add_verb<EnrollOptions>(app, out, "enroll",
                                                     "let a verifier learn whose TPM this host's attestation "
                                                     "key is in. In four steps: on the host `enroll "
                                                     "request --out R`; the verifier says `enroll challenge "
                                                     "R --roots MAKERS.pem --keep K --out C`; on the host "
                                                     "`enroll answer C --out A`; the verifier says `enroll "
                                                     "accept A --keep K --into hosts.json`, and names that "
                                                     "list in its policy (host.enrolled)");
    add_value<EnrollOptions>(enroll, out, "action", &EnrollOptions::action, "the step")
        ->required()
        ->check(CLI::IsMember(std::vector<std::string>{"request", "challenge", "answer", "accept"}))
        ->type_name("request|challenge|answer|accept");
    add_value<EnrollOptions>(enroll, out, "file", &EnrollOptions::file, "what the step before it wrote")
        ->type_name("FILE");
    add_value<EnrollOptions>(enroll, out, "--out", &EnrollOptions::out,
                             "request, challenge, answer: the file to write")
        ->type_name("FILE");
    add_value<EnrollOptions>(enroll, out, "--keep", &EnrollOptions::keep,
                             "challenge, accept: what the verifier keeps for itself meanwhile")
        ->type_name("FILE");
    add_value<EnrollOptions>(
        enroll, out, "--roots", &EnrollOptions::roots,
        "challenge: who may say that a key is a TPM's; certificates in PEM or DER, again for more")
        ->type_name("FILE")
        ->allow_extra_args(false);
    add_flag<EnrollOptions>(enroll, out, "--uncertified", &EnrollOptions::uncertified,
                            "challenge, for development: take any key for a TPM's");
    add_value<EnrollOptions>(enroll, out, "--into", &EnrollOptions::into,
                             "accept: the verifier's list of hosts")
        ->type_name("FILE.json");
    add_value<EnrollOptions>(enroll, out, "--label", &EnrollOptions::label,
                             "accept: what to call the host there")
        ->type_name("TEXT");
}

void declare_attest(CLI::App& app, Invocation& out) {
    CLI::App* const attest = add_verb<AttestOptions>(app, out, "attest",
                                                     "collect the evidence of a running VM in one file: what "
                                                     "its host booted, what was launched, what its vTPM "
                                                     "quotes, and that its vTPM's state is the newest");
    add_value<AttestOptions>(attest, out, "name", &AttestOptions::name, "the VM")
        ->required()
        ->type_name("NAME");
    add_value<AttestOptions>(attest, out, "--nonce", &AttestOptions::nonce,
                             "what the verifier chose, in hexadecimal digits, 8 to 64 bytes")
        ->required()
        ->type_name("HEX");
    add_value<AttestOptions>(attest, out, "--out", &AttestOptions::out, "the file to write")
        ->required()
        ->type_name("FILE");
    add_value<AttestOptions>(
        attest, out, "--vtpm-quote", &AttestOptions::vtpm_quote,
        "the quote of its vTPM that the guest itself has made for this nonce, in place of one "
        "that the host asks for")
        ->type_name("FILE");
    CLI::Option* const report =
        add_value<AttestOptions>(attest, out, "--cpu-report", &AttestOptions::cpu_report,
                                 "the SNP report or TDX quote that the guest itself has had made for this "
                                 "nonce")
            ->type_name("FILE");
    add_value<AttestOptions>(
        attest, out, "--cpu-endorsement", &AttestOptions::cpu_endorsement,
        "what vouches for it: certificates of VCEK or VLEK, or Intel's collateral in JSON")
        ->needs(report)
        ->type_name("FILE");
    add_value<AttestOptions>(attest, out, "--cpu-event-log", &AttestOptions::cpu_event_log,
                             "of a TD: its CCEL log")
        ->needs(report)
        ->type_name("FILE");
}

void declare_broker(CLI::App& app, Invocation& out) {
    CLI::App* const broker = add_verb<BrokerOptions>(
        app, out, "broker",
        "hold secrets, and give each only to a guest whose evidence passes the secret's policy; stays in the "
        "foreground and prints \"ready\"");
    add_value<BrokerOptions>(broker, out, "--config", &BrokerOptions::config,
                             "secrets, policies, certificate and key, in TOML")
        ->required()
        ->type_name("FILE.toml");
    add_value<BrokerOptions>(
        broker, out, "--listen", &BrokerOptions::listen,
        "where guests connect, by TLS 1.3; port 0 takes a free one, which \"ready\" names")
        ->type_name("ADDRESS:PORT")
        ->capture_default_str();
    add_value<BrokerOptions>(
        broker, out, "--log", &BrokerOptions::log,
        "each decision is written here before it takes effect, one JSON object a line; nothing "
        "is released that cannot be written down")
        ->required()
        ->type_name("FILE");
}

void declare_device(CLI::App& app, Invocation& out) {
    CLI::App* const device = add_verb<DeviceOptions>(
        app, out, "device", "which devices of this host a guest may have, and why not the others");
    add_value<DeviceOptions>(
        device, out, "action", &DeviceOptions::action,
        "list shows all, explain says all that speaks against one, bind gives one to vfio-pci if nothing "
        "does, unbind gives it back, audit checks and prints what was done")
        ->required()
        ->check(CLI::IsMember(std::vector<std::string>{"list", "explain", "bind", "unbind", "audit"}))
        ->type_name("list|explain|bind|unbind|audit");
    add_value<DeviceOptions>(
        device, out, "address", &DeviceOptions::address,
        "explain, bind, unbind: the device, like 0000:01:00.0; explain with IOVA: a VM's name")
        ->type_name("ADDRESS|NAME");
    add_value<DeviceOptions>(device, out, "iova", &DeviceOptions::iova,
                             "explain NAME: what the VM's devices find at this address now, and who let them")
        ->type_name("IOVA");
    add_value<DeviceOptions>(device, out, "--policy", &DeviceOptions::policy,
                             "which devices may be handed over (default /etc/holdfast/devices.toml; without "
                             "that file none)")
        ->type_name("FILE");
    add_flag<DeviceOptions>(device, out, "--follow", &DeviceOptions::follow,
                            "audit: go on with what is added");
    add_flag<DeviceOptions>(device, out, "--json", &DeviceOptions::json,
                            "print one JSON array or object; audit: one object a line");
}

void declare_agent(CLI::App& app, Invocation& out) {
    CLI::App* const agent = add_verb<AgentOptions>(
        app, out, "agent",
        "ask the holdfast-agent of a guest, or serve its calls; neither side believes the other");
    add_value<AgentOptions>(
        agent, out, "action", &AgentOptions::action,
        "status says what the guest's agent says of itself, power-off asks it to end the guest, "
        "serve answers the guest's calls until a signal; prints `ready`")
        ->required()
        ->check(CLI::IsMember(std::vector<std::string>{"status", "power-off", "serve"}))
        ->type_name("status|power-off|serve");
    add_value<AgentOptions>(agent, out, "--vsock", &AgentOptions::vsock, "PATH of run --vsock CID=PATH")
        ->required()
        ->type_name("PATH");
    add_value<AgentOptions>(agent, out, "--blobs", &AgentOptions::blobs,
                            "serve: where the guest may keep blobs, which it has sealed; without it none")
        ->type_name("DIR");
    add_value<AgentOptions>(agent, out, "--vm", &AgentOptions::vm,
                            "serve: the VM, so that the guest may ask for its evidence (as attest has it)")
        ->type_name("NAME");
    add_value<AgentOptions>(agent, out, "--broker", &AgentOptions::broker,
                            "serve: where the guest's connections to its broker go; without it nowhere")
        ->type_name("ADDRESS:PORT");
    add_value<AgentOptions>(
        agent, out, "--peer", &AgentOptions::peer,
        "serve: PATH of the other guest's run --vsock, to which this guest's channels go; "
        "without it nowhere")
        ->type_name("PATH");
    add_flag<AgentOptions>(agent, out, "--json", &AgentOptions::json, "status: print one JSON object");
}

void declare_image(CLI::App& app, Invocation& out) {
    CLI::App* const image = add_verb<ImageOptions>(
        app, out, "image",
        "make an initramfs for run --initrd: holdfast-agent as its first process, the modules of a Debian "
        "kernel, and a program");
    add_value<ImageOptions>(image, out, "--out", &ImageOptions::out, "the file to write")
        ->required()
        ->type_name("FILE");
    struct Flag {
        const char* name;
        const char* value;
        std::string ImageOptions::* member;
        const char* help;
    };
    for (const Flag& flag :
         {Flag{"--program", "FILE", &ImageOptions::program,
               "what the agent starts, on the console; the VM powers off when it ends"},
          Flag{"--config", "FILE", &ImageOptions::config, "lines for the agent's agent.conf (docs/agent.md)"},
          Flag{"--modules", "DIR", &ImageOptions::modules,
               "the modules of the kernel that will be booted (default those of the kernel that runs here)"},
          Flag{"--agent", "FILE", &ImageOptions::agent,
               "holdfast-agent (default the one beside holdfast-vmm)"}}) {
        add_value<ImageOptions>(image, out, flag.name, flag.member, flag.help)->type_name(flag.value);
    }
    struct List {
        const char* name;
        const char* value;
        std::vector<std::string> ImageOptions::* member;
        const char* help;
    };
    for (const List& list :
         {List{"--argument", "TEXT", &ImageOptions::arguments, "an argument of the program; again for more"},
          List{"--file", "PATH=FILE", &ImageOptions::files, "a file in the image; again for more"},
          List{"--tree", "DIR", &ImageOptions::trees, "all files below DIR; again for more"},
          List{"--with", "PROGRAM", &ImageOptions::with,
               "one more program of this machine, at its own path; again for more. Libraries come along"},
          List{"--module", "NAME", &ImageOptions::more_modules,
               "one more kernel module, with all that it needs; again for more"}}) {
        add_value<ImageOptions>(image, out, list.name, list.member, list.help)
            ->type_name(list.value)
            ->allow_extra_args(false);
    }
}

void declare_bench(CLI::App& app, Invocation& out) {
    CLI::App* const bench = add_verb<BenchOptions>(
        app, out, "bench", "what confidentiality costs on this host, beside the peers that are installed");
    add_flag<BenchOptions>(bench, out, "--quick", &BenchOptions::quick, "a few minutes (the default)");
    add_flag<BenchOptions>(
        bench, out, "--full", &BenchOptions::full,
        "three runs of everything, with their spread: an hour, on a host that does nothing else");
    add_value<BenchOptions>(bench, out, "--html", &BenchOptions::html, "write a page with tables and plots")
        ->type_name("FILE");
    add_value<BenchOptions>(bench, out, "--json", &BenchOptions::json, "write all of it for a program")
        ->type_name("FILE");
    add_value<BenchOptions>(
        bench, out, "--compare", &BenchOptions::compare,
        "against an older --json: exit status 1 if a ratio is worse by more than the noise")
        ->type_name("FILE");
    std::vector<std::string> suites;
    for (const bench::Suite& suite : bench::suites()) suites.emplace_back(suite.id);
    add_value<BenchOptions>(bench, out, "--suite", &BenchOptions::suites, "only this one; again for more")
        ->check(CLI::IsMember(suites))
        ->type_name("SUITE")
        ->allow_extra_args(false);
}

void declare_bundle(CLI::App& app, Invocation& out) {
    CLI::App& bundle = *app.add_subcommand(
        "bundle", "kernel, initrd, command line and shape of a VM in one signed directory");
    bundle.require_subcommand(1);
    const auto add = [&](const char* name, const char* help) {
        CLI::App* const verb = add_verb<BundleOptions>(bundle, out, name, help);
        verb->parse_complete_callback([&out, name] { options_of<BundleOptions>(out).action = name; });
        return verb;
    };
    CLI::App* const create = add("create", "put one together from the flags of run; it is not signed yet");
    for (const Setting& setting : setting_table()) {
        if (!setting.name.starts_with("bundle")) add_setting<BundleOptions>(create, out, setting);
    }
    add_value<BundleOptions>(create, out, "--out", &BundleOptions::out, "the directory to make")
        ->required()
        ->type_name("DIR");
    add_value<BundleOptions>(create, out, "--security-version", &BundleOptions::security_version,
                             "raise it when hosts that have seen this one must not launch older ones")
        ->required()
        ->type_name("N");
    const auto add_directory = [&](CLI::App* verb) {
        add_value<BundleOptions>(verb, out, "directory", &BundleOptions::directory, "the bundle")
            ->required()
            ->type_name("DIR");
    };
    CLI::App* const sign = add("sign", "sign its manifest");
    add_directory(sign);
    add_value<BundleOptions>(sign, out, "--key", &BundleOptions::key,
                             "private key, in PEM: Ed25519, or ECDSA P-256")
        ->required()
        ->type_name("FILE");
    CLI::App* const inspect =
        add("inspect", "what it decides; exit status 1 if no --bundle-key has signed it");
    add_directory(inspect);
    add_value<BundleOptions>(inspect, out, "--bundle-key", &BundleOptions::keys,
                             "public key, in PEM, to check the signature with; again for more")
        ->type_name("FILE")
        ->allow_extra_args(false);
    add_flag<BundleOptions>(inspect, out, "--json", &BundleOptions::json, "print one JSON object");
}

struct Branch {
    std::string_view verb;  ///< empty: several small ones
    void (*declare)(CLI::App&, Invocation&);
};
constexpr Branch kBranches[] = {
    {"run", declare_run},       {"measure", declare_measure}, {"", declare_others},
    {"vtpm", declare_vtpm},     {"anchor", declare_anchor},   {"enroll", declare_enroll},
    {"attest", declare_attest}, {"broker", declare_broker},   {"verify", declare_verify},
    {"device", declare_device}, {"bundle", declare_bundle},   {"image", declare_image},
    {"agent", declare_agent},   {"bench", declare_bench},     {"libvirt", declare_libvirt},
};

}  // namespace

std::string_view examples_of(std::string_view verb) noexcept {
    if (verb == "run") {
        return "holdfast run --builtin\n"
               "holdfast run web --kernel vmlinuz --initrd initrd.img --cmdline console=ttyS0 --disk web.img "
               "--net user\n"
               "holdfast run --config web.toml --detach --json\n";
    }
    if (verb == "image") {
        return "holdfast image --out app.img --program ./app --modules "
               "/lib/modules/6.12.63+deb12-cloud-amd64\n"
               "holdfast run app --kernel vmlinuz --initrd app.img --cmdline 'console=ttyS0 quiet' --vsock "
               "5=app.vsock\n";
    }
    if (verb == "measure") {
        return "holdfast measure --kernel vmlinuz --initrd initrd.img --cmdline console=ttyS0 --memory 1G "
               "--json\n"
               "holdfast measure --snp --ovmf OVMF.fd --vcpus 4 --vcpu-type EPYC-v4 --kernel vmlinuz "
               "--append "
               "console=ttyS0\n";
    }
    if (verb == "stop") return "holdfast stop web --timeout 60\n";
    if (verb == "anchor") {
        return "holdfast anchor init\n"
               "holdfast anchor serve\n"
               "holdfast anchor status --json\n";
    }
    if (verb == "enroll") {
        return "holdfast enroll request --out R\n"
               "holdfast enroll challenge R --roots makers.pem --keep K --out C\n"
               "holdfast enroll answer C --out A\n"
               "holdfast enroll accept A --keep K --into hosts.json --label 'rack 7'\n";
    }
    if (verb == "attest") return "holdfast attest web --nonce $(openssl rand -hex 32) --out web.cbor\n";
    if (verb == "broker") {
        return "holdfast broker --config broker.toml --listen 192.0.2.7:8743 --log decisions.jsonl\n";
    }
    if (verb == "verify") {
        return "holdfast verify web.cbor --policy web.toml --nonce 1f2e3d4c5b6a7988 --html web.html\n"
               "holdfast verify quote.msg --format tpm-quote --policy host.toml --nonce 1f2e3d --signature "
               "quote.sig "
               "--key ak.pub --pcrs pcrs.txt --event-log binary_bios_measurements\n"
               "holdfast verify report.bin --format snp-report --policy cloud.toml --nonce 1f2e3d "
               "--certificate vcek.der --chain ask.pem --json\n";
    }
    if (verb == "device") {
        return "holdfast device list\n"
               "holdfast device explain 0000:01:00.0 --policy devices.toml\n"
               "holdfast device explain web 0xfffff000\n"
               "holdfast device audit --follow\n";
    }
    if (verb == "bench") {
        return "holdfast bench --quick --html report.html\n"
               "holdfast bench --full --json today.json --compare before.json\n";
    }
    if (verb == "bundle") {
        return "holdfast bundle create web --kernel vmlinuz --initrd initrd.img --cmdline console=ttyS0 "
               "--vtpm on "
               "--security-version 3 --out web-3\n"
               "holdfast bundle sign web-3 --key bundle.key\n"
               "holdfast run --bundle web-3 --bundle-key bundle.pub\n";
    }
    if (verb == "libvirt") {
        return "holdfast libvirt check\n"
               "holdfast libvirt install --yes\n"
               "holdfast libvirt domain --name box --builtin --memory 64M > box.xml; virsh define box.xml\n"
               "holdfast libvirt domain --name web --config web.toml > web.xml\n";
    }
    if (verb == "logs") return "holdfast logs web --console --follow\n";
    if (verb == "vtpm") {
        return "holdfast vtpm create web\n"
               "holdfast vtpm serve web --socket /run/web-tpm.sock\n";
    }
    return {};
}

void declare(CLI::App& app, Invocation& out, std::string_view only) {
    app.description("Holdfast launches confidential virtual machines on Linux/KVM.");
    app.require_subcommand(1);
    app.fallthrough();
    app.add_option_function<std::string>(
           "--state-dir", [&out](const std::string& value) { out.state_dir = value; },
           "where VMs keep sockets and logs (default $XDG_RUNTIME_DIR/holdfast, else /run/holdfast)")
        ->type_name("DIR");
    const bool known =
        !only.empty() && std::ranges::find(kBranches, only, &Branch::verb) != std::end(kBranches);
    for (const Branch& branch : kBranches) {
        if (!known || branch.verb == only) branch.declare(app, out);
    }
    for (CLI::App* const verb : app.get_subcommands({})) {
        const auto examples = examples_of(verb->get_name());
        if (!examples.empty()) verb->footer("Examples:\n" + std::string{examples});
    }
}

}  // namespace holdfast::cli
