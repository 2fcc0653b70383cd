//! What was typed: the table of commands, flags and help, from which completions are made too.

pub(crate) mod attack;
pub(crate) mod people;
pub(crate) mod privacy;
pub(crate) mod request;
pub(crate) mod schedule;
pub(crate) mod team;
pub(crate) mod text;
pub(crate) mod theft;
pub(crate) mod trail;
pub(crate) mod watch;
pub(crate) mod witness;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ringfence_engine::{EngineError, HardenPlan, Mode, Start, schema::Severity};

/// `ringfence` and its commands.
#[derive(Debug, Parser)]
#[command(
    name = "ringfence",
    version,
    about = "Secures AI training and fine-tuning: no evidence, no passage",
    after_help = TOP_EXAMPLES,
    override_usage = "ringfence [OPTIONS] [COMMAND]",
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    /// The vault's folder [default: $XDG_DATA_HOME/ringfence]
    #[arg(long, global = true, env = "RINGFENCE_VAULT", hide_env_values = true, value_name = "DIR")]
    pub(crate) vault: Option<PathBuf>,
    /// Work in the vault of this server instead: https://HOST:PORT
    #[arg(long, global = true, env = "RINGFENCE_SERVER", hide_env_values = true, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// How results are written to standard output
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    /// Say nothing on standard error but errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// What to do; without it: how the vault is
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The commands in the groups in which help shows them.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Store", &["init", "add", "get", "ls", "show", "verify", "rollback", "retire"]),
    ("Gate", &["scan", "screen", "review", "request", "sign", "outdated"]),
    ("Run", &["run", "watch", "stop", "attack", "harden", "watermark", "release"]),
    ("People", &["login", "logout", "user", "token", "key", "glass"]),
    ("Operate", &["trail", "witness", "drill", "schedule", "serve", "doctor", "completions"]),
];

/// The table of commands, with the groups in its help.
pub(crate) fn command() -> clap::Command {
    let command = <Cli as clap::CommandFactory>::command();
    let mut groups = String::new();
    for (group, names) in GROUPS {
        groups.push_str(&format!("{group}:\n"));
        for name in names {
            let about = command.find_subcommand(name).and_then(clap::Command::get_about);
            groups.push_str(&format!("  {name:<12} {}\n", about.map(ToString::to_string).unwrap_or_default()));
        }
    }
    command.help_template(format!(
        "{{about}}\n\n{{usage-heading}} {{usage}}\n\n{groups}\nOptions:\n{{options}}{{after-help}}"
    ))
}

const TOP_EXAMPLES: &str = "\
Examples:
  ringfence run examples/digits/ringfence.toml   admit, train in the sandbox, attack, release
  ringfence scan downloads/                      inspect model files without a vault
  ringfence screen train.csv --label label       look for poison in a dataset
  ringfence verify released --root lab.root      check a released model offline
  ringfence doctor                               what works here, and what to do about the rest

Exit codes:
  0 done and clean   1 done, and the answer is no   2 usage   3 could not finish (never clean)
  4 not permitted    5 tampering                    130 interrupted";

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people at a terminal
    Human,
    /// For screen readers and logs: no graphics
    Plain,
    /// One JSON document
    Json,
    /// SARIF 2.1.0, where findings are reported
    Sarif,
    /// JUnit XML, for `scan` in pipelines
    Junit,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a vault: keys, trust root, first trail entry
    #[command(
        after_help = "Examples:\n  ringfence init\n  ringfence init --passphrase\n  RINGFENCE_PASSPHRASE_FILE=secret ringfence init"
    )]
    Init(InitArgs),
    /// Admit a dataset or model: read once into sealed quarantine, inspect, pass the gate
    #[command(
        after_help = "Examples:\n  ringfence add train.csv --as dataset/digits --label label\n  ringfence add base.onnx --as model/base\n  ringfence add hf://org/model@main --as model/base\n  ringfence add 'https://example.org/net.onnx#sha256=…' --as model/net"
    )]
    Add(AddArgs),
    /// Write out a verified copy of an artifact
    #[command(
        after_help = "Examples:\n  ringfence get dataset/digits@1 ./copy\n  ringfence get model/net@released ./net"
    )]
    Get(GetArgs),
    /// List artifacts and their versions
    #[command(after_help = "Examples:\n  ringfence ls\n  ringfence ls dataset/digits --format json")]
    Ls(LsArgs),
    /// Show one thing in full: an artifact, a rule, the trust root
    #[command(
        after_help = "Examples:\n  ringfence show dataset/digits@1\n  ringfence show model/net@released --bom > net.cdx.json\n  ringfence show RF-PKL-003\n  ringfence show root > lab.root"
    )]
    Show(ShowArgs),
    /// Check a released bundle or approvals offline, or every stored byte of the vault
    #[command(
        after_help = "Examples:\n  ringfence verify released --root lab.root\n  ringfence verify approval.json --root lab.root\n  ringfence verify --all\n  ringfence verify model/ --signature model.sig --key publisher.pub\n  ringfence verify model/ --signature model.sig --certificate-root ca.pem --signer ml@example.org"
    )]
    Verify(VerifyArgs),
    /// Make an earlier version the current one; nothing is deleted
    #[command(after_help = "Examples:\n  ringfence rollback dataset/digits@1")]
    Rollback(RollbackArgs),
    /// Destroy versions for good: their keys go, so that nobody can read them again
    #[command(
        after_help = "Rows, evidence and the trail stay, and say who did it, when and why. What other versions share stays readable\nthrough them; copies outside the vault are not reached. In a vault that several people share this asks two others.\n\nExamples:\n  ringfence retire dataset/old@1 --destroy --dry-run\n  ringfence retire dataset/old@1 --destroy --reason \"the consent was withdrawn\"\n  ringfence retire checkpoint/net@3 model/net@1 --destroy --reason \"trained on it\" --yes"
    )]
    Retire(RetireArgs),
    /// Inspect model files without executing or loading them
    #[command(
        after_help = "Examples:\n  ringfence scan model.pt\n  ringfence scan downloads/ --format sarif --fail-on high\n  ringfence scan hf://org/model@main\n  ringfence scan --weights tuned.safetensors --base base.safetensors\n  ringfence scan --admitted --feed advisories.feed --feed-root publisher.root"
    )]
    Scan(ScanArgs),
    /// Look for poison, label errors and other trouble in a dataset
    #[command(
        after_help = "Examples:\n  ringfence screen train.csv --label label\n  ringfence screen train-images-idx3-ubyte.gz --labels train-labels-idx1-ubyte.gz\n  ringfence screen train.csv --write clean.csv\n  ringfence screen fine-tune.npz --model base.onnx --reference clean.npz"
    )]
    Screen(ScreenArgs),
    /// Decide what is held in quarantine
    #[command(
        after_help = "Examples:\n  ringfence review ls\n  ringfence review resume model/base@2\n  ringfence review approve model/base@1 --reason \"known custom operator\""
    )]
    Review {
        /// What to do
        #[command(subcommand)]
        action: ReviewAction,
    },
    /// Ask other people for what needs them, approve or refuse what they ask for, carry it out
    #[command(
        after_help = "Examples:\n  ringfence request make policy policy.toml\n  ringfence request ls --open\n  ringfence request approve q-1f0c2a9d5e7b4386\n  ringfence request carry-out q-1f0c2a9d5e7b4386\n  ringfence request proof q-1f0c2a9d5e7b4386 > approval.json"
    )]
    Request {
        /// What to do
        #[command(subcommand)]
        action: request::RequestAction,
    },
    /// Sign a model, a waiver or an advisory feed
    #[command(
        after_help = "Examples:\n  ringfence sign model net/ --key signer.pem\n  ringfence sign waiver net.pkl --rule RF-PKL-011 --reason \"our own class\" --by ana@example.org --days 30\n  ringfence sign feed advisories.jsonl --name lab --serial 7 --out lab.feed"
    )]
    Sign {
        /// What to sign
        #[command(subcommand)]
        action: SignAction,
    },
    /// Say which fetched artifacts have newer revisions at their source, and what changed
    #[command(
        after_help = "Examples:\n  ringfence outdated\n  ringfence outdated model/base --weights\n  ringfence outdated --format json"
    )]
    Outdated(OutdatedArgs),
    /// Run a plan: admit the inputs, train in the sandbox, attack the result, release it
    #[command(
        after_help = "Examples:\n  ringfence run examples/digits/ringfence.toml\n  ringfence run plan.toml --level full\n  ringfence --server https://vault.example.org run plan.toml"
    )]
    Run(RunArgs),
    /// Attack a model and report how robust it is
    #[command(
        after_help = "Examples:\n  ringfence attack net.onnx --data test.csv --label label --shape 1,8,8 --scale 0.0625 --eps 0.15\n  ringfence attack net.onnx --data test.csv --label label --battery standard --levels 256\n  ringfence attack net.onnx --data test.csv --label label --norm l2 --attack carlini-wagner\n  ringfence attack loans.onnx --data loans.csv --label paid --norm l0 --eps 2 --immutable 0,3\n  ringfence attack net.onnx --since earlier.onnx --data test.csv --label label\n  ringfence attack checkpoint/net@4 --since released --data test.csv --label label\n  ringfence attack net.onnx --self-check\n  ringfence attack net.onnx --data batch.npz --gradient out.npz\n  ringfence attack privacy net.onnx --members train.npz --non-members test.npz --references 16\n  ringfence attack theft net.onnx --queries natural.npz --held-out test.npz\n  ringfence attack text reviews.onnx --tokenizer tokenizer.json --data reviews.csv\n  ringfence attack net.safetensors --architecture net.json --data test.csv --label label\n  ringfence attack --endpoint endpoint.toml --data test.csv --label label --html card.html"
    )]
    Attack(attack::AttackArgs),
    /// Train a model adversarially
    #[command(
        after_help = "Examples:\n  ringfence harden base.onnx --data train.csv --label label --shape 1,8,8 --scale 0.0625 --eps 0.15 --out robust.onnx\n  ringfence harden base.onnx --data train.csv --label label --fresh --mode dp-sgd --epsilon 3 --delta 1e-5 --out private.onnx\n  ringfence harden base.safetensors --data train.csv --label label --out robust.safetensors --both"
    )]
    Harden(HardenArgs),
    /// Mark a model before its release, and look for the marks in a suspect
    Watermark {
        /// What to do
        #[command(subcommand)]
        action: theft::WatermarkAction,
    },
    /// Release a tested checkpoint as a bundle that others can verify offline
    #[command(after_help = "Examples:\n  ringfence release checkpoint/digits-robust@1 --out released")]
    Release(ReleaseArgs),
    /// Log in to a server, confirmed in a browser; pins its vault's trust root
    #[command(
        after_help = "Examples:\n  ringfence login --server https://vault.example.org:8443\n  ringfence login --server https://localhost:8443 --authority ~/.config/ringfence/tls/authority.pem\n  RINGFENCE_SERVER=https://vault.example.org ringfence login --token token.txt\n  ringfence login --step-up"
    )]
    Login(people::LoginArgs),
    /// End the session at a server and forget it here
    Logout,
    /// Make, list and revoke tokens for scripts and programs
    #[command(
        after_help = "Examples:\n  ringfence token make \"nightly audit\" --scope read,verify --days 30\n  ringfence token ls"
    )]
    Token {
        /// What to do
        #[command(subcommand)]
        action: people::TokenAction,
    },
    /// Approve with a key in your SSH agent: enrol one, list and remove them
    #[command(after_help = "Examples:\n  ringfence key add\n  ringfence key ls\n  ringfence key rm SHA256:jK0…")]
    Key {
        /// What to do
        #[command(subcommand)]
        action: request::KeyAction,
    },
    /// Do without the approval of others in an emergency: loud, short, and reviewed
    #[command(
        after_help = "Examples:\n  ringfence glass break --reason \"the site is on fire\"\n  ringfence glass ls\n  ringfence glass review g-1f0c2a9d5e7b4386 --reason \"looked at all three exports\""
    )]
    Glass {
        /// What to do
        #[command(subcommand)]
        action: request::GlassAction,
    },
    /// Say who is in the vault and who may do what, and why; invite, change, shut out and reset people
    #[command(
        after_help = "Examples:\n  ringfence user ls\n  ringfence user can ben release checkpoint/net@1 --login mfa --stepped-up --why\n  ringfence user add ben --display \"Ben Okafor\" --role researcher\n  ringfence user disable ben --reason \"left the team\""
    )]
    User {
        /// What to do
        #[command(subcommand)]
        action: people::UserAction,
    },
    /// Read, verify, copy and export the trail of every decision and effect, and show it to witnesses
    #[command(
        after_help = "Examples:\n  ringfence trail ls --decision denied --since 2d\n  ringfence trail verify\n  ringfence trail verify --checkpoint held.checkpoint\n  ringfence trail witness\n  ringfence trail mirror /mnt/worm/trail\n  ringfence trail export --as ocsf --since 1h --out events.jsonl"
    )]
    Trail {
        /// What to do
        #[command(subcommand)]
        action: trail::TrailAction,
    },
    /// Be a witness of others' trails: cosign what only grew, refuse what was rewritten; needs no vault
    #[command(
        after_help = "Examples:\n  ringfence witness init /var/lib/witness --name witness.example.org/w1\n  ringfence witness add-log /var/lib/witness --root lab.root\n  ringfence witness serve /var/lib/witness --listen 127.0.0.1:8340"
    )]
    Witness {
        /// What to do
        #[command(subcommand)]
        action: witness::WitnessAction,
    },
    /// Watch runs: live, afterwards, their alerts and where these go
    #[command(
        after_help = "Examples:\n  ringfence watch\n  ringfence watch r-1f0c2a9d5e7b4386\n  ringfence watch history r-1f0c2a9d5e7b4386 --out run.html\n  ringfence watch replay cpu.csv --format json\n  ringfence watch alerts --open\n  ringfence watch ack 4f2a91c0 --reason \"planned load test\" --days 1\n  ringfence watch sinks --test pager"
    )]
    Watch(watch::WatchArgs),
    /// Carry out attacks on purpose, to prove that the controls work
    #[command(
        after_help = "Examples:\n  ringfence drill run\n  ringfence drill run miner exfiltrate-dns --format json"
    )]
    Drill {
        /// What to do
        #[command(subcommand)]
        action: watch::DrillAction,
    },
    /// Say what a server does by itself: scan again, verify, drill, mirror
    #[command(
        after_help = "The server carries out what is due while it runs; what was missed is made up for once.\n\nExamples:\n  ringfence schedule add audit --every 1d --at 03:30\n  ringfence schedule add rescan --every 7d\n  ringfence schedule ls\n  ringfence schedule rm s-0f3a2b1c4d5e"
    )]
    Schedule {
        /// What to do
        #[command(subcommand)]
        action: schedule::ScheduleAction,
    },
    /// Stop a run that goes on, or halt it
    #[command(
        after_help = "Examples:\n  ringfence stop r-1f0c2a9d5e7b4386\n  ringfence stop r-1f0c2a9d5e7b4386 --freeze"
    )]
    Stop(watch::StopArgs),
    /// Say what works on this machine, what does not, and what to do
    Doctor,
    /// Serve the vault to a team over TLS: pages, API, people with passkeys and roles
    #[command(
        after_help = "Examples:\n  ringfence serve\n  ringfence serve --listen 0.0.0.0:8443 --host vault.example.org\n  ringfence serve --host vault.example.org --certificate chain.pem --key key.pem\n  ringfence serve --runner --server https://vault.example.org:8443"
    )]
    Serve(team::ServeArgs),
    /// Print completions for a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// `init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Protect the vault with a passphrase instead of a key file
    #[arg(long)]
    pub(crate) passphrase: bool,
}

/// How a dataset is read.
#[derive(Debug, Args, Clone)]
pub(crate) struct DataArgs {
    /// Label column
    #[arg(long, value_name = "COLUMN")]
    pub(crate) label: Option<String>,
    /// Separate labels file (IDX)
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: Option<PathBuf>,
    /// Shape of one example, such as 1,8,8
    #[arg(long, value_delimiter = ',', value_name = "N,…")]
    pub(crate) shape: Vec<usize>,
    /// Factor from stored values to the model's input
    #[arg(long, default_value_t = 1.0, value_name = "X")]
    pub(crate) scale: f32,
}

/// Which controls to leave out, where policy allows; recorded.
#[derive(Debug, Args, Clone, Copy)]
pub(crate) struct SkipArgs {
    /// Do not scan models (policy permitting; recorded)
    #[arg(long)]
    pub(crate) no_scan: bool,
    /// Do not screen datasets (policy permitting; recorded)
    #[arg(long)]
    pub(crate) no_screen: bool,
}

/// `add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// File or folder to admit, or a source: hf://ORG/NAME[@REV], https://…[#sha256=…], s3://BUCKET/PREFIX, file:/…,
    /// kaggle://…, tfhub://…
    pub(crate) path: PathBuf,
    /// Its name: dataset/NAME, model/NAME or code/NAME
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) name: String,
    /// With `--server`: come back once it is received into quarantine; the server inspects and admits it by itself
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Controls to leave out
    #[command(flatten)]
    pub(crate) skip: SkipArgs,
    /// How a dataset is read
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

/// `get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// Which artifact: NAME, NAME@3, NAME@released or NAME@sha256:…
    pub(crate) reference: String,
    /// Folder to write into; must not exist
    pub(crate) destination: PathBuf,
}

/// `ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Only this artifact
    pub(crate) name: Option<String>,
}

/// `outdated`.
#[derive(Debug, Args)]
pub(crate) struct OutdatedArgs {
    /// Only this artifact
    pub(crate) name: Option<String>,
    /// Fetch the newer weights too and say by how much each tensor moved; nothing of it is kept
    #[arg(long)]
    pub(crate) weights: bool,
}

/// `show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// An artifact, a rule id such as RF-PKL-003, or `root`
    pub(crate) what: String,
    /// Print the artifact's bill of materials (CycloneDX 1.6 JSON)
    #[arg(long)]
    pub(crate) bom: bool,
    /// With `--bom`: say which advisories of this feed affect it
    #[command(flatten)]
    pub(crate) feed: FeedArgs,
}

/// An advisory feed and whose it is.
#[derive(Debug, Args, Clone)]
pub(crate) struct FeedArgs {
    /// Signed advisory feed (OSV records)
    #[arg(long, value_name = "FILE", requires = "feed_root")]
    pub(crate) feed: Option<PathBuf>,
    /// Trust root of the feed's publisher
    #[arg(long, value_name = "FILE", requires = "feed")]
    pub(crate) feed_root: Option<PathBuf>,
}

/// `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Folder of a released bundle, or a file of approvals; with `--signature`: the signed file or folder
    #[arg(required_unless_present = "all")]
    pub(crate) bundle: Option<PathBuf>,
    /// Detached signature: an OpenSSF Model Signing bundle, a minisign signature or a list of SHA-256 checksums
    #[arg(long, value_name = "FILE", requires = "bundle", conflicts_with_all = ["all", "root"])]
    pub(crate) signature: Option<PathBuf>,
    /// Whose signature counts
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
    /// The trust root to verify under, instead of the pinned ones
    #[arg(long, value_name = "FILE")]
    pub(crate) root: Option<PathBuf>,
    /// Read and verify every stored byte of the vault
    #[arg(long, conflicts_with_all = ["bundle", "root"])]
    pub(crate) all: bool,
}

/// Whose detached signature counts.
#[derive(Debug, Args)]
pub(crate) struct TrustArgs {
    /// ECDSA public key of a signer (PEM)
    #[arg(long, value_name = "FILE", requires = "signature")]
    pub(crate) key: Vec<PathBuf>,
    /// Root certificates below which signers' certificates must lie (PEM)
    #[arg(long, value_name = "FILE", requires = "signature")]
    pub(crate) certificate_root: Vec<PathBuf>,
    /// Name that the signer's certificate must bear: common name, e-mail address, DNS name or URI
    #[arg(long, value_name = "NAME", requires = "certificate_root")]
    pub(crate) signer: Vec<String>,
    /// Sigstore's trusted root (JSON), for keyless signatures
    #[arg(long, value_name = "FILE", requires_all = ["signature", "identity", "issuer"])]
    pub(crate) sigstore_root: Option<PathBuf>,
    /// Identity of the keyless signer: e-mail address or URI
    #[arg(long, value_name = "WHO", requires = "sigstore_root")]
    pub(crate) identity: Option<String>,
    /// Issuer that vouched for the keyless signer
    #[arg(long, value_name = "URL", requires = "sigstore_root")]
    pub(crate) issuer: Option<String>,
    /// Minisign public key
    #[arg(long, value_name = "FILE", requires = "signature")]
    pub(crate) minisign_key: Vec<PathBuf>,
    /// Accept a list of checksums that nobody signed
    #[arg(long, requires = "signature")]
    pub(crate) unsigned_checksums: bool,
}

/// `sign …`.
#[derive(Debug, Subcommand)]
pub(crate) enum SignAction {
    /// Sign a model, file or folder: an OpenSSF Model Signing bundle
    Model(SignModelArgs),
    /// Waive one rule on one file until a date; signed by the vault and committed with a project
    Waiver(SignWaiverArgs),
    /// Sign OSV records, one a line, as an issue of an advisory feed
    Feed(SignFeedArgs),
}

/// `sign model`.
#[derive(Debug, Args)]
pub(crate) struct SignModelArgs {
    /// The model
    pub(crate) path: PathBuf,
    /// ECDSA private key on P-256, P-384 or P-521 (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// The key's certificate, then those that lead to a root (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Vec<PathBuf>,
    /// Where the signature goes [default: model.sig inside the folder, or beside the file]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// `sign waiver`.
#[derive(Debug, Args)]
pub(crate) struct SignWaiverArgs {
    /// The file whose finding is waived; the waiver is for its digest
    pub(crate) path: PathBuf,
    /// The rule, such as RF-PKL-011
    #[arg(long)]
    pub(crate) rule: String,
    /// Only for this member of an archive
    #[arg(long)]
    pub(crate) member: Option<String>,
    /// Why
    #[arg(long)]
    pub(crate) reason: String,
    /// Who answers for it
    #[arg(long)]
    pub(crate) by: String,
    /// For so many days
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=366))]
    pub(crate) days: u64,
    /// File of waivers to add it to
    #[arg(long, default_value = "ringfence.waivers", value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// `sign feed`.
#[derive(Debug, Args)]
pub(crate) struct SignFeedArgs {
    /// OSV records in JSON, one a line
    pub(crate) records: PathBuf,
    /// The feed's name
    #[arg(long)]
    pub(crate) name: String,
    /// Number of this issue; must rise
    #[arg(long)]
    pub(crate) serial: u64,
    /// A newer issue is due after so many days
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=366))]
    pub(crate) days: u64,
    /// Where it goes
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// `rollback`.
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The version to go back to, such as dataset/digits@1
    pub(crate) reference: String,
}

/// `retire`.
#[derive(Debug, Args)]
pub(crate) struct RetireArgs {
    /// The versions, such as dataset/digits@1
    #[arg(required = true, num_args = 1..=ringfence_engine::destroy::VERSIONS_MAX, value_name = "REFERENCE")]
    pub(crate) references: Vec<String>,
    /// Destroy their keys, which nobody can undo
    #[arg(long, required = true)]
    pub(crate) destroy: bool,
    /// Why; it stays in the trail for good
    #[arg(long, required_unless_present = "dry_run")]
    pub(crate) reason: Option<String>,
    /// Say what would go and what others share, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask again: for scripts
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Severities for `--fail-on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// Anything at all
    Info,
    /// Low or worse
    Low,
    /// Medium or worse
    Medium,
    /// High or worse
    High,
    /// Critical only
    Critical,
}

impl FailOn {
    /// The least severity that counts.
    pub(crate) fn severity(self) -> Severity {
        match self {
            Self::Info => Severity::Info,
            Self::Low => Severity::Low,
            Self::Medium => Severity::Medium,
            Self::High => Severity::High,
            Self::Critical => Severity::Critical,
        }
    }
}

/// `scan`.
#[derive(Debug, Args)]
pub(crate) struct ScanArgs {
    /// Files, folders, and sources elsewhere (`hf://org/model@rev`), of which only the parts that matter are fetched
    #[arg(required_unless_present = "admitted", conflicts_with = "admitted")]
    pub(crate) paths: Vec<PathBuf>,
    /// Scan everything in the vault again, with today's rules; what is worse now is an alert and is revoked
    #[arg(long)]
    pub(crate) admitted: bool,
    /// With `--admitted`: compare with advisories
    #[command(flatten)]
    pub(crate) feed: FeedArgs,
    /// Statistics of one model's weights instead: not finite, dead, outlying, favouring a class
    #[arg(long, conflicts_with_all = ["admitted", "waivers", "root", "storages"])]
    pub(crate) weights: bool,
    /// With `--weights`: compare with the model that it is said to come from
    #[arg(long, value_name = "FILE", requires = "weights")]
    pub(crate) base: Option<PathBuf>,
    /// Signed waivers [default: ./ringfence.waivers where it exists]
    #[arg(long, value_name = "FILE", conflicts_with = "admitted")]
    pub(crate) waivers: Option<PathBuf>,
    /// Trust root whose waivers count, instead of the pinned ones
    #[arg(long, value_name = "FILE", conflicts_with = "admitted")]
    pub(crate) root: Option<PathBuf>,
    /// Exit with 1 from this severity on
    #[arg(long, value_enum, default_value_t = FailOn::Medium)]
    pub(crate) fail_on: FailOn,
    /// Search all weights for programs, archives and pickles, not only samples of them
    #[arg(long)]
    pub(crate) storages: bool,
}

/// `screen`.
#[derive(Debug, Args)]
pub(crate) struct ScreenArgs {
    /// Dataset: CSV, JSONL or IDX, also gzip-compressed; with `--model` also NPZ with `x` and perhaps `y`
    pub(crate) path: PathBuf,
    /// How it is read
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Write the dataset without its filtered records here
    #[arg(long, value_name = "FILE")]
    pub(crate) write: Option<PathBuf>,
    /// The base model of a fine-tune (ONNX or safetensors): look for records changed against it
    #[arg(long, value_name = "BASE.onnx")]
    pub(crate) model: Option<PathBuf>,
    /// Clean data that the base model was not trained on, read like the dataset: the measure of `--model`
    #[arg(long, value_name = "FILE", requires = "model")]
    pub(crate) reference: Option<PathBuf>,
    /// What describes models that are weights alone
    #[command(flatten)]
    pub(crate) architecture: attack::ArchitectureArgs,
}

/// `review …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ReviewAction {
    /// List what is held
    Ls,
    /// Go on with an addition that was cut off: look into it, and ask the gate
    Resume {
        /// The held artifact
        reference: String,
    },
    /// Let a held artifact in despite its findings; recorded with the reason
    Approve(ReviewArgs),
    /// Refuse a held artifact for good
    Refuse(ReviewArgs),
}

/// `review approve` and `review refuse`.
#[derive(Debug, Args)]
pub(crate) struct ReviewArgs {
    /// The held artifact
    pub(crate) reference: String,
    /// Why
    #[arg(long)]
    pub(crate) reason: String,
}

/// Least confinement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// Whatever holds here; the record says which
    Any,
    /// Namespaces, or no run
    NoCgroup,
    /// Namespaces and control groups, or no run
    Full,
}

/// `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The plan
    pub(crate) plan: PathBuf,
    /// Controls to leave out
    #[command(flatten)]
    pub(crate) skip: SkipArgs,
    /// Demand at least this confinement
    #[arg(long, value_enum, default_value_t = Level::Any)]
    pub(crate) level: Level,
    /// Where the released bundle goes [default: `released` beside the plan; with `--server`: nowhere]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// With `--server`: the run's token is good from this machine's address alone
    #[arg(long)]
    pub(crate) pin_address: bool,
    /// With `--server`: queue it for a training machine instead (`serve --runner`)
    #[arg(long, conflicts_with = "pin_address")]
    pub(crate) queue: bool,
}

/// `harden`.
#[derive(Debug, Args)]
pub(crate) struct HardenArgs {
    /// The model to start from (ONNX or safetensors)
    pub(crate) model: PathBuf,
    /// Training data
    #[arg(long, value_name = "FILE")]
    pub(crate) data: PathBuf,
    /// How it is read
    #[command(flatten)]
    pub(crate) read: DataArgs,
    /// Where the hardened model goes: safetensors if the name ends so, otherwise ONNX
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Write it in the other form beside `--out` too: NAME.safetensors, or NAME.onnx
    #[arg(long)]
    pub(crate) both: bool,
    /// Where the report goes as JSON, beside standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Keep the training's state here after each epoch, and go on from what lies there
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// TOML file with the keys of a plan's `[run.harden]`; the flags below override it
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    /// Train the architecture from fresh weights
    #[arg(long)]
    pub(crate) fresh: bool,
    /// What is trained on [default: adversarial]
    #[arg(long, value_enum)]
    pub(crate) mode: Option<ModeName>,
    /// Gradient steps of the attacker in training; 1 is FGSM [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) attack_steps: Option<usize>,
    /// Linf radius in units of the model's input; 0 trains without attack [default: 0.1]
    #[arg(long)]
    pub(crate) eps: Option<f32>,
    /// Passes over the data [default: 20; to unlearn 40]
    #[arg(long)]
    pub(crate) epochs: Option<u64>,
    /// Examples a step [default: 64]
    #[arg(long)]
    pub(crate) batch: Option<usize>,
    /// Peak learning rate [default: 0.003]
    #[arg(long)]
    pub(crate) rate: Option<f32>,
    /// Share of each batch that stays clean [default: 0.3]
    #[arg(long)]
    pub(crate) clean_share: Option<f32>,
    /// Seed of all random choices [default: 0]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Private training
    #[command(flatten)]
    pub(crate) private: privacy::PrivateArgs,
    /// What describes models that are weights alone
    #[command(flatten)]
    pub(crate) architecture: attack::ArchitectureArgs,
}

/// `--mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeName {
    /// Attacked examples: FGSM with a random start, or PGD with `--attack-steps`
    Adversarial,
    /// Each batch several times, weights and inputs moved together
    Free,
    /// Clean examples whose answer may not change nearby
    Trades,
    /// Without the triggers that `attack backdoor` finds
    Unlearn,
    /// With differential privacy
    DpSgd,
}

impl HardenArgs {
    /// Where the model goes, in each form that is wanted.
    pub(crate) fn outs(&self) -> Result<Vec<PathBuf>, EngineError> {
        let is_weights = self.out.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors"));
        let beside = self.out.with_extension(if is_weights { "onnx" } else { "safetensors" });
        if self.both && beside == self.model {
            let what =
                format!("`--both` would write over the model itself, `{}`; choose another `--out`", beside.display());
            return Err(EngineError::Usage { what });
        }
        Ok(std::iter::once(self.out.clone()).chain(self.both.then_some(beside)).collect())
    }

    /// The mode that was typed; none for private training, which has a plan of its own.
    pub(crate) fn mode(&self) -> Option<Mode> {
        match self.mode? {
            ModeName::Adversarial => Some(Mode::Adversarial),
            ModeName::Free => Some(Mode::Free),
            ModeName::Trades => Some(Mode::Trades),
            ModeName::Unlearn => Some(Mode::Unlearn),
            ModeName::DpSgd => None,
        }
    }

    /// What was typed, over `plan`.
    pub(crate) fn over(&self, mut plan: HardenPlan) -> HardenPlan {
        if self.fresh {
            plan.start = Start::Fresh;
        }
        plan.mode = self.mode().unwrap_or(plan.mode);
        plan.attack_steps = self.attack_steps.unwrap_or(plan.attack_steps);
        plan.eps = self.eps.unwrap_or(plan.eps);
        plan.epochs = self.epochs.unwrap_or(plan.epochs);
        plan.batch = self.batch.unwrap_or(plan.batch);
        plan.rate = self.rate.unwrap_or(plan.rate);
        plan.clean_share = self.clean_share.unwrap_or(plan.clean_share);
        plan.seed = self.seed.unwrap_or(plan.seed);
        plan
    }
}

/// `release`.
#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// The tested checkpoint
    pub(crate) reference: String,
    /// Folder of the bundle; an earlier bundle there gives way to it
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::{GROUPS, command};

    #[test]
    fn help_shows_every_command_in_one_group() {
        let command = command();
        let mut shown: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let mut known: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        shown.sort_unstable();
        known.sort_unstable();
        assert_eq!(shown, known);
        command.debug_assert();
    }
}
