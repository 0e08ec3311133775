//! `tidegate simulate`: a trace replayed in virtual time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tidegate_core::{Decision, Timestamp};
use tidegate_limiter::MemoryOptions;
use tidegate_server::Api;
use tidegate_server::http::answer;
use tidegate_sim::{Entry, Outcome, Report, Trace, TraceError, World};

use crate::api;
use crate::args::SimulateArgs;
use crate::failure::Failure;
use crate::output::print;
use report::Summary;

mod report;

/// Lines between two looks at the progress: a look takes longer than a line.
const LINES_A_LOOK: u64 = 1_024;

pub(crate) fn run(args: &SimulateArgs, json: bool) -> Result<ExitCode, Failure> {
    let (policy, trace) = files(args)?;
    let vendor = if policy.is_some() { None } else { args.vendor.vendor.as_deref() };
    let api = api::load(policy, vendor)?;
    api::show_warnings(&api);
    let (reader, progress) = open(trace)?;
    let mut decisions = Decisions::to(args.decisions.as_deref(), &api)?;
    let replayed = replay(args, &api, Trace::new(reader), &mut decisions, &progress);
    progress.finish_and_clear();
    // What was decided before a mistake is kept.
    decisions.finish()?;
    let summary = Summary::of(&replayed?, &api.policy, usize::from(args.top));
    let text = if json { summary.json()? } else { summary.text() };
    if decisions.is_on_stdout {
        io::stderr().lock().write_all(text.as_bytes()).map_err(|error| Failure::writing("stderr", &error))?;
    } else {
        print(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The policy's file, if it is one, and the trace's.
fn files(args: &SimulateArgs) -> Result<(Option<&Path>, &Path), Failure> {
    match (args.files.as_slice(), &args.vendor.vendor) {
        ([policy, trace], _) => Ok((Some(policy), trace)),
        ([trace], Some(_)) => Ok((None, trace)),
        _ => {
            let help = "tidegate simulate POLICY TRACE, or tidegate simulate --vendor NAME TRACE";
            Err(Failure::new("a policy and a trace are needed, and only one file is given").help(help))
        }
    }
}

/// The trace, and how far it is read.
fn open(path: &Path) -> Result<(Box<dyn BufRead>, ProgressBar), Failure> {
    let target = if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let progress = ProgressBar::with_draw_target(None, target);
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        let unread = |error| {
            let failure = Failure::because(format!("cannot read trace {}", path.display()), &error);
            failure.help("give the path of a trace, or - for standard input")
        };
        let file = File::open(path).map_err(unread)?;
        let about = file.metadata().map_err(unread)?;
        if about.is_file() {
            progress.set_length(about.len());
        }
        Box::new(file)
    };
    let form =
        if progress.length().is_some() { "{wide_bar} {percent} %  {eta} left" } else { "{spinner} {bytes} read" };
    // The forms above are well formed, so none falls back to the default.
    progress.set_style(ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar()));
    let reader = BufReader::with_capacity(1 << 16, progress.wrap_read(source));
    Ok((Box::new(reader), progress))
}

fn replay(
    args: &SimulateArgs,
    api: &Api,
    mut trace: Trace<Box<dyn BufRead>>,
    decisions: &mut Decisions<'_>,
    progress: &ProgressBar,
) -> Result<Report, Failure> {
    let max_counters = usize::try_from(args.max_counters).unwrap_or(usize::MAX);
    let world = World::new(&api.policy, &api.intake, MemoryOptions { max_counters });
    let mut report = Report::default();
    let mut lines: u64 = 0;
    while let Some(next) = trace.next(&api.policy) {
        lines += 1;
        if lines.is_multiple_of(LINES_A_LOOK) {
            progress.tick();
        }
        match next {
            Ok(entry) => ask(&world, &entry, &mut report, decisions)?,
            Err(error) if args.skip_bad && error.can_go_on() => {
                report.skipped += 1;
                decisions.skip(&error)?;
            }
            Err(error) => return Err(unread(&error, &report)),
        }
    }
    Ok(report)
}

fn ask(
    world: &World<'_>,
    entry: &Entry<'_>,
    report: &mut Report,
    decisions: &mut Decisions<'_>,
) -> Result<(), Failure> {
    let mut written = Ok(());
    world.ask(entry, |outcome| {
        written = match outcome {
            Outcome::Decided(decision) => {
                report.add(entry.line, decision);
                decisions.decided(decision)
            }
            Outcome::BadRequest { place, message } => {
                report.bad_requests += 1;
                decisions.bad_request(entry.at, place, message)
            }
        };
    });
    written
}

fn unread(error: &TraceError, report: &Report) -> Failure {
    let failure = Failure::because("trace", error_to_tell(error));
    let before = report.demands + report.bad_requests + report.skipped;
    let help = format!(
        "{before} lines before it are decided and written; correct it, or pass over such lines with --skip-bad"
    );
    failure.help(if error.can_go_on() { help } else { "is it a file, and readable?".to_owned() })
}

/// The mistake is in the error's own words already; its source would say it twice.
fn error_to_tell(error: &TraceError) -> &dyn std::error::Error {
    error
}

/// Where decisions are written, one line for each line of the trace.
struct Decisions<'a> {
    api: &'a Api,
    out: Option<(Box<dyn Write>, String)>,
    is_on_stdout: bool,
    line: String,
}

impl<'a> Decisions<'a> {
    fn to(path: Option<&Path>, api: &'a Api) -> Result<Decisions<'a>, Failure> {
        let is_on_stdout = path == Some(Path::new("-"));
        let out: Option<(Box<dyn Write>, String)> = match path {
            None => None,
            Some(_) if is_on_stdout => Some((Box::new(BufWriter::new(io::stdout().lock())), "stdout".to_owned())),
            Some(path) => {
                let file = File::create(path);
                let file =
                    file.map_err(|error| Failure::because(format!("cannot write {}", path.display()), &error))?;
                Some((Box::new(BufWriter::with_capacity(1 << 16, file)), path.display().to_string()))
            }
        };
        Ok(Decisions { api, out, is_on_stdout, line: String::new() })
    }

    fn decided(&mut self, decision: &Decision<'_>) -> Result<(), Failure> {
        if self.out.is_none() {
            return Ok(());
        }
        let fields = self.api.dialect.render(decision);
        answer::write(decision, &fields, Some(decision.at()), &mut self.line);
        self.end_line()
    }

    fn bad_request(&mut self, at: Timestamp, place: &str, message: &str) -> Result<(), Failure> {
        self.line.push_str("{\"t\":");
        answer::seconds(at.as_micros(), &mut self.line);
        self.line.push_str(",\"status\":400,\"error\":{\"message\":");
        answer::string(message, &mut self.line);
        self.line.push_str(",\"place\":");
        answer::string(place, &mut self.line);
        self.line.push_str("}}");
        self.end_line()
    }

    fn skip(&mut self, error: &TraceError) -> Result<(), Failure> {
        self.line.push_str("{\"t\":null,\"error\":{\"message\":");
        answer::string(&error.to_string(), &mut self.line);
        self.line.push_str("}}");
        self.end_line()
    }

    fn end_line(&mut self) -> Result<(), Failure> {
        self.line.push('\n');
        let written = match &mut self.out {
            Some((out, name)) => out.write_all(self.line.as_bytes()).map_err(|error| Failure::writing(name, &error)),
            None => Ok(()),
        };
        self.line.clear();
        written
    }

    fn finish(&mut self) -> Result<(), Failure> {
        match &mut self.out {
            Some((out, name)) => out.flush().map_err(|error| Failure::writing(name, &error)),
            None => Ok(()),
        }
    }
}
