//! The command line as typed.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

const EXIT_CODES: &str = "\
Exit codes:
  0  done; a policy that was checked has no errors
  1  a policy or a dialect has errors; for `diff`, the two differ
  2  the command line is wrong, or something cannot be read, written or listened on";

/// Keeps the limits of messaging APIs: before the API, as its operator, and in tests, in virtual time.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Stand before an upstream and enforce a policy
    Serve(ServeArgs),
    /// Say everything that is wrong with a policy, or what it permits
    Check(CheckArgs),
    /// Say which limits apply to a request, which do not, and why
    Explain(ExplainArgs),
    /// Say what will change, and for whom, when one policy takes the place of another
    Diff(DiffArgs),
    /// Replay a trace in virtual time: who would have been refused
    Simulate(SimulateArgs),
    /// The policies that ship with Tidegate
    Vendors(VendorsArgs),
}

/// Which policy: a file, or one that ships.
#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    /// A policy that ships with Tidegate; `tidegate vendors list` has them
    #[arg(long, value_name = "NAME", env = "TIDEGATE_VENDOR")]
    pub(crate) vendor: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = with_exit_codes(SERVE_EXAMPLES))]
pub(crate) struct ServeArgs {
    /// Policy files, or folders of them; they are watched [default: the shipped policy `whatsapp`]
    #[arg(value_name = "POLICY", env = "TIDEGATE_POLICY")]
    pub(crate) policy: Vec<PathBuf>,
    /// A policy that ships with Tidegate; `tidegate vendors list` has them. May be given several times
    #[arg(long, value_name = "NAME", env = "TIDEGATE_VENDOR")]
    pub(crate) vendor: Vec<String>,
    /// Where admitted requests go, http://HOST[:PORT][/BASE] [default: a built-in upstream that echoes]
    #[arg(long, value_name = "URL", env = "TIDEGATE_UPSTREAM")]
    pub(crate) upstream: Option<http::Uri>,
    /// Where the gateway listens; port 0 takes a free one
    #[arg(long, value_name = "ADDR", env = "TIDEGATE_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Where the HTTP API listens: decisions, what is left, health, metrics
    #[arg(long, value_name = "ADDR", env = "TIDEGATE_CONTROL", default_value = "127.0.0.1:8081")]
    pub(crate) control: SocketAddr,
    /// Where counters are kept: memory. (disk and redis://… are not in this version)
    #[arg(long, value_name = "STORE", env = "TIDEGATE_STORE", default_value = "memory")]
    pub(crate) store: String,
    /// Where a store that keeps something keeps it; memory keeps nothing
    #[arg(long, value_name = "DIR", env = "TIDEGATE_STATE")]
    pub(crate) state: Option<PathBuf>,
    /// Most counters that the store may hold
    #[arg(long, value_name = "N", env = "TIDEGATE_MAX_COUNTERS", default_value = "1000000", value_parser = counters())]
    pub(crate) max_counters: u64,
    /// Name each refusal of the gateway in the header `Tidegate-Decision`, for `GET /v1/explain?decision=ID`
    #[arg(long, env = "TIDEGATE_DECISION_HEADER")]
    pub(crate) decision_header: bool,
    /// What is logged to stderr: error, warn, info, debug or trace, also by part (info,tidegate_server=debug)
    #[arg(long, value_name = "FILTER", env = "TIDEGATE_LOG", default_value = "info")]
    pub(crate) log: String,
    /// How it is logged
    #[arg(long, value_name = "FORMAT", env = "TIDEGATE_LOG_FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people
    Text,
    /// A JSON object a line
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = with_exit_codes(CHECK_EXAMPLES))]
pub(crate) struct CheckArgs {
    /// The policy's file
    #[arg(value_name = "POLICY", env = "TIDEGATE_POLICY")]
    pub(crate) policy: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) vendor: PolicyArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = with_exit_codes(EXPLAIN_EXAMPLES),
    override_usage = "tidegate explain [OPTIONS] <POLICY> <REQUEST>\n       tidegate explain [OPTIONS] --vendor <NAME> <REQUEST>"
)]
pub(crate) struct ExplainArgs {
    /// The policy's file, unless --vendor names one that ships; then the request, 'METHOD /path'
    #[arg(value_name = "POLICY REQUEST", num_args = 0..=2)]
    pub(crate) what: Vec<String>,
    #[command(flatten)]
    pub(crate) vendor: PolicyArgs,
    /// A header of the request, as often as there are headers
    #[arg(short = 'H', long = "header", value_name = "'NAME: VALUE'")]
    pub(crate) headers: Vec<String>,
    /// The body of the request, or @FILE
    #[arg(long, value_name = "TEXT")]
    pub(crate) body: Option<String>,
    /// The address that the request comes from
    #[arg(long, value_name = "IP")]
    pub(crate) client: Option<IpAddr>,
    /// An attribute, as often as there are: beside a request it counts before what is read from that
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    pub(crate) attributes: Vec<String>,
    /// When it is asked, in unix seconds [default: now]
    #[arg(long, value_name = "TIME", conflicts_with = "server")]
    pub(crate) at: Option<String>,
    /// Ask the control port of a running server, so that counters are as they stand there
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<http::Uri>,
}

#[derive(Debug, Args)]
#[command(after_help = with_exit_codes(DIFF_EXAMPLES))]
pub(crate) struct DiffArgs {
    /// The policy in force: a file, or vendor:NAME
    #[arg(value_name = "OLD")]
    pub(crate) old: String,
    /// The one that is to take its place: a file, or vendor:NAME
    #[arg(value_name = "NEW")]
    pub(crate) new: String,
}

#[derive(Debug, Args)]
#[command(
    after_help = with_exit_codes(SIMULATE_EXAMPLES),
    override_usage = "tidegate simulate [OPTIONS] <POLICY> <TRACE>\n       tidegate simulate [OPTIONS] --vendor <NAME> <TRACE>"
)]
pub(crate) struct SimulateArgs {
    /// The policy's file, unless --vendor names one that ships; then the trace's, or - for standard input
    #[arg(value_name = "POLICY TRACE", num_args = 1..=2, required = true)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) vendor: PolicyArgs,
    /// Write every decision as a line of JSON; - is standard output, and the report goes to stderr then
    #[arg(long, value_name = "FILE")]
    pub(crate) decisions: Option<PathBuf>,
    /// Pass over lines that cannot be understood, and count them
    #[arg(long)]
    pub(crate) skip_bad: bool,
    /// How many of the busiest keys the report has
    #[arg(long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub(crate) top: u16,
    /// Most counters that the store may hold
    #[arg(long, value_name = "N", env = "TIDEGATE_MAX_COUNTERS", default_value = "1000000", value_parser = counters())]
    pub(crate) max_counters: u64,
}

#[derive(Debug, Args)]
#[command(after_help = with_exit_codes(VENDORS_EXAMPLES))]
pub(crate) struct VendorsArgs {
    #[command(subcommand)]
    pub(crate) command: VendorsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum VendorsCommand {
    /// Their names, and what they are
    #[command(after_help = with_exit_codes(LIST_EXAMPLES))]
    List,
    /// What one of them limits, or its files as a beginning of your own
    #[command(after_help = with_exit_codes(SHOW_EXAMPLES))]
    Show(ShowArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Print its policy.toml
    #[arg(long, conflicts_with_all = ["dialect", "json"])]
    pub(crate) policy: bool,
    /// Print its dialect.toml
    #[arg(long, conflicts_with = "json")]
    pub(crate) dialect: bool,
}

const SERVE_EXAMPLES: &str = "\
Examples:
  tidegate serve
  tidegate serve --vendor stream --upstream http://127.0.0.1:3000
  tidegate serve policies/ --vendor stream
  tidegate serve policy.toml --listen 0.0.0.0:8080 --max-counters 10000000
  TIDEGATE_VENDOR=qstash TIDEGATE_LOG=warn tidegate serve

A policy file that changes is in force within two seconds, on SIGHUP at once; one that is wrong changes nothing.
SIGTERM and SIGINT end it once what was asked is answered; a second one at once.";

const CHECK_EXAMPLES: &str = "\
Examples:
  tidegate check policy.toml
  tidegate check --vendor sendbird
  tidegate check policy.toml --json";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  tidegate explain policy.toml 'POST /v3/messages' -H 'apikey: k1'
  tidegate explain --vendor whatsapp 'GET /sessions/s1/qr' -H 'X-API-Key: k1' --json
  tidegate explain --vendor stream --attribute app=chat-1 --attribute platform=ios
  tidegate explain --server http://127.0.0.1:8081 'GET /sessions/s1/qr' -H 'X-API-Key: k1'

Nothing is charged.";

const DIFF_EXAMPLES: &str = "\
Examples:
  tidegate diff policy.toml policy-new.toml
  tidegate diff vendor:whatsapp own.toml --json

A policy that has errors cannot be compared, which ends with 2.";

const SIMULATE_EXAMPLES: &str = "\
Examples:
  tidegate simulate policy.toml trace.jsonl
  tidegate simulate --vendor qstash access.log --decisions decisions.jsonl
  tidegate simulate --vendor whatsapp - --json <trace.jsonl

A trace is JSON lines, t in unix seconds, not decreasing:
  {\"t\":1706774400.25,\"attributes\":{\"key\":\"k1\",\"operation\":\"poll-qr\",\"session\":\"s1\"},\"cost\":{\"requests\":1}}
  {\"t\":1706774401,\"request\":{\"method\":\"GET\",\"path\":\"/sessions/s1/qr\",\"headers\":{\"X-API-Key\":\"k1\"}}}
or an access log in Common or Combined format.";

const VENDORS_EXAMPLES: &str = "\
Examples:
  tidegate vendors list
  tidegate vendors show stream";

const LIST_EXAMPLES: &str = "\
Examples:
  tidegate vendors list
  tidegate vendors list --json";

const SHOW_EXAMPLES: &str = "\
Examples:
  tidegate vendors show stream
  tidegate vendors show whatsapp --policy >policy.toml
  tidegate vendors show qstash --json";

/// Examples, then the exit codes, which every command has.
fn with_exit_codes(examples: &str) -> String {
    format!("{examples}\n\n{EXIT_CODES}")
}

fn counters() -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(1..=1 << 30)
}

/// The command line, or the code to end with: help was asked for, or it is wrong.
///
/// What is typed wins over the environment, so that `--vendor` is no mistake where `TIDEGATE_POLICY` is set.
pub(crate) fn parse() -> Result<Cli, ExitCode> {
    let parsed = Cli::command().try_get_matches().and_then(|matches| {
        let typed = typed(&matches);
        let mut cli = Cli::from_arg_matches(&matches)?;
        if let Command::Simulate(args) = &mut cli.command
            && args.files.len() == 2
            && !typed.1
        {
            args.vendor.vendor = None;
        }
        if let Command::Explain(args) = &mut cli.command
            && args.what.iter().any(|text| !is_request(text))
            && !typed.1
        {
            args.vendor.vendor = None;
        }
        if let Command::Serve(args) = &mut cli.command {
            match typed {
                (false, true) => args.policy.clear(),
                (true, false) => args.vendor.clear(),
                _ => {}
            }
        }
        let policy = match &mut cli.command {
            Command::Check(args) => Some((&mut args.policy, &mut args.vendor.vendor)),
            Command::Serve(_) | Command::Diff(_) | Command::Explain(_) | Command::Simulate(_) | Command::Vendors(_) => {
                None
            }
        };
        match (policy, typed) {
            (Some((policy, _)), (false, true)) => *policy = None,
            (Some((_, vendor)), (true, false)) => *vendor = None,
            _ => {}
        }
        Ok(cli)
    });
    parsed.map_err(|error| {
        let code = if error.use_stderr() { 2 } else { 0 };
        let _ = error.print();
        ExitCode::from(code)
    })
}

/// Whether an argument is a request and not a file: a method and a path.
pub(crate) fn is_request(text: &str) -> bool {
    text.split_once(' ').is_some_and(|(_, path)| path.trim_start().starts_with('/'))
}

/// Whether the policy and the vendor were typed.
fn typed(matches: &clap::ArgMatches) -> (bool, bool) {
    let Some((_, matches)) = matches.subcommand() else { return (false, false) };
    let is_typed = |name| {
        let known = matches.try_contains_id(name).is_ok();
        known && matches.value_source(name) == Some(ValueSource::CommandLine)
    };
    (is_typed("policy"), is_typed("vendor"))
}
