// SPDX-License-Identifier: Apache-2.0
// The command line as values, one struct a verb. The flags themselves are declared in tree.cpp.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "cli/shape.hpp"

namespace holdfast::cli {

struct RunOptions {
    Settings settings;
    std::string config;
    bool detach = false;
    bool json = false;
    int report_fd = -1;  ///< open; -1: none
};
/// What another VMM would launch with OVMF on SEV-SNP; numbers and hex as written.
struct SnpOptions {
    bool wanted = false;
    std::string ovmf;
    std::string vcpus;
    std::string vcpu_type;
    std::string vcpu_sig;
    std::string vcpu_family;
    std::string vcpu_model;
    std::string vcpu_stepping;
    std::string append;
    std::string guest_features;
    std::string vmm_type;
    std::string ovmf_hash;
};
struct MeasureOptions {
    Settings settings;
    std::string config;
    std::string diff;
    bool json = false;
    SnpOptions snp;
};
struct ListOptions {
    bool json = false;
};
struct StatusOptions {
    std::string name;
    bool json = false;
};
struct TopOptions {
    bool json = false;
};
struct ConsoleOptions {
    std::string name;
};
struct LogsOptions {
    std::string name;
    bool follow = false;
    bool console = false;
};
struct StopOptions {
    std::string name;
    std::uint64_t timeout_seconds = 30;
};
struct KillOptions {
    std::string name;
};
struct DoctorOptions {
    bool json = false;
};
struct AnchorOptions {
    std::string action;
    std::string vtpm;
    std::string statement;
    std::string tenant_key;
    std::string signature;
    std::string tcti = "device:/dev/tpmrm0";
    std::string pcrs = "0,7";
    std::string update_key;
    std::string approval;
    std::string power_loss = "refuse";
    std::uint64_t daily_budget = 200;
    std::uint64_t stores_a_second = 20;
    bool json = false;
};

struct DeviceOptions {
    std::string action;
    std::string address;  ///< or a VM's name
    std::string iova;
    std::string policy;
    bool follow = false;
    bool json = false;
};

struct BenchOptions {
    bool quick = false;
    bool full = false;
    std::string html;
    std::string json;
    std::string compare;
    std::vector<std::string> suites;  ///< empty: all
};

struct BundleOptions {
    std::string action;
    Settings settings;  ///< create
    std::string out;
    std::uint64_t security_version = 0;
    std::string directory;  ///< sign, inspect
    std::string key;
    std::vector<std::string> keys;
    bool json = false;
};

struct VtpmCreateOptions {
    std::string name;
    std::string tenant_key;
    bool json = false;
};
struct VtpmListOptions {
    bool json = false;
};
struct VtpmServeOptions {
    std::string name;
    std::string socket;
    bool incoming = false;
    bool strict = false;
};
struct VtpmRemoveOptions {
    std::string name;
};

struct LibvirtDomainOptions {
    Settings settings;
    std::string config;
    std::string emulator;
};
struct LibvirtCheckOptions {
    std::string emulator;
};

struct LibvirtInstallOptions {
    std::string emulator;
    bool yes = false;     ///< change it, do not only show it
    bool remove = false;  ///< take back what was installed
};

struct LibvirtHookOptions {
    std::string policy;
};

struct VerifyOptions {
    std::string file;
    std::string format;
    std::string policy;
    std::string nonce;
    std::string at;
    std::string signature;
    std::string key;
    std::string certificate;
    std::vector<std::string> chain;
    std::vector<std::string> crls;
    std::string pcrs;
    std::string event_log;
    std::string ima_log;
    std::string nv_public;
    std::string collateral;
    std::string html;
    bool json = false;
};

struct EnrollOptions {
    std::string action;
    std::string file;
    std::string out;
    std::string keep;
    std::string into;
    std::string label;
    std::vector<std::string> roots;
    bool uncertified = false;
};
struct AttestOptions {
    std::string name;
    std::string nonce;
    std::string out;
    std::string vtpm_quote;  ///< a file; empty: the host asks for one
    std::string cpu_report;  ///< files; empty: there is none
    std::string cpu_endorsement;
    std::string cpu_event_log;
};

struct BrokerOptions {
    std::string config;
    std::string listen = "127.0.0.1:8743";
    std::string log;
};

struct ImageOptions {
    std::string out;
    std::string modules;  ///< /lib/modules/RELEASE
    std::string agent;
    std::string program;
    std::vector<std::string> arguments;
    std::vector<std::string> files;
    std::vector<std::string> trees;
    std::vector<std::string> more_modules;
    std::vector<std::string> with;  ///< programs of this machine
    std::string config;
};

struct AgentOptions {
    std::string action;
    std::string vsock;
    std::string blobs;
    std::string vm;      ///< whose evidence the guest may ask for; empty: none
    std::string broker;  ///< address and port; empty: none
    std::string peer;    ///< the other guest's vsock; empty: none
    bool json = false;
};

struct Invocation {
    std::string state_dir;  ///< absolute; empty: the default
    std::variant<std::monostate, RunOptions, MeasureOptions, ListOptions, StatusOptions, TopOptions,
                 ConsoleOptions, LogsOptions, StopOptions, KillOptions, DoctorOptions, VtpmCreateOptions,
                 VtpmListOptions, VtpmServeOptions, VtpmRemoveOptions, AnchorOptions, VerifyOptions,
                 DeviceOptions, BundleOptions, BenchOptions, LibvirtDomainOptions, LibvirtCheckOptions,
                 LibvirtInstallOptions, LibvirtHookOptions, AttestOptions, EnrollOptions, ImageOptions,
                 AgentOptions, BrokerOptions>
        verb;
};

// One verb a file; each returns the exit status or throws Failure.
int run_vm(const RunOptions& options, const std::string& state_dir);
int measure(const MeasureOptions& options);
int list_vms(const ListOptions& options, const std::string& state_dir);
int show_status(const StatusOptions& options, const std::string& state_dir);
int show_top(const TopOptions& options, const std::string& state_dir);
int open_console(const ConsoleOptions& options, const std::string& state_dir);
int show_logs(const LogsOptions& options, const std::string& state_dir);
int stop_vm(const StopOptions& options, const std::string& state_dir);
int kill_vm(const KillOptions& options, const std::string& state_dir);
int run_doctor(const DoctorOptions& options);
int create_vtpm(const VtpmCreateOptions& options, const std::string& state_dir);
int list_vtpms(const VtpmListOptions& options, const std::string& state_dir);
int serve_vtpm(const VtpmServeOptions& options, const std::string& state_dir);
int remove_vtpm(const VtpmRemoveOptions& options, const std::string& state_dir);
int verify(const VerifyOptions& options);
int enroll(const EnrollOptions& options, const std::string& state_dir);
int attest_vm(const AttestOptions& options, const std::string& state_dir);
int run_broker(const BrokerOptions& options);
int run_anchor(const AnchorOptions& options, const std::string& state_dir);
int run_bench(const BenchOptions& options);
int run_agent(const AgentOptions& options, const std::string& state_dir);
int make_image(const ImageOptions& options);
int run_bundle(const BundleOptions& options);
int print_domain(const LibvirtDomainOptions& options, const std::string& state_dir);
int check_libvirt(const LibvirtCheckOptions& options);
int install_libvirt(const LibvirtInstallOptions& options);
int judge_domain(const LibvirtHookOptions& options, const std::string& state_dir);
int run_device(const DeviceOptions& options, const std::string& state_dir);

}  // namespace holdfast::cli
