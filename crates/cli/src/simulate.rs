//! `tidegate simulate`: a trace replayed in virtual time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use tidegate_core::{Decision, Timestamp};
use tidegate_limiter::MemoryOptions;
use tidegate_policy::question::BadQuestion;
use tidegate_server::Api;
use tidegate_server::http::answer::{self, Beside};
use tidegate_sim::{Entry, Outcome, Report, Trace, TraceError, World};

use crate::api;
use crate::args::SimulateArgs;
use crate::failure::Failure;
use crate::output::{counted, print};
use report::Summary;

mod report;

pub(crate) fn run(args: &SimulateArgs, json: bool) -> Result<ExitCode, Failure> {
    let (policy, trace) = files(args)?;
    let api = api::load(policy, args.vendor.vendor.as_deref())?;
    api::show_warnings(&api);
    let (reader, progress) = open(trace)?;
    keep_apart(args.decisions.as_deref(), [policy, Some(trace)])?;
    let mut decisions = Decisions::to(args.decisions.as_deref(), &api)?;
    let replayed = replay(args, &api, &mut Trace::new(reader), &mut decisions);
    progress.finish_and_clear();
    // What was decided before a mistake is kept.
    decisions.finish()?;
    let report = replayed.map_err(|stop| stop.told(trace))?;
    let summary = Summary::of(&report, &api.policy, usize::from(args.top));
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

/// Refuses to write decisions over a file that is read.
fn keep_apart(decisions: Option<&Path>, read: [Option<&Path>; 2]) -> Result<(), Failure> {
    let file = |path: &Path| {
        let about = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        Some((about.dev(), about.ino()))
    };
    let Some((path, written)) = decisions.and_then(|path| Some((path, file(path)?))) else { return Ok(()) };
    if read.into_iter().flatten().any(|path| file(path) == Some(written)) {
        let failure = Failure::new(format!("decisions would be written over {}, which is read", path.display()));
        return Err(failure.help("give --decisions a file of its own"));
    }
    Ok(())
}

/// Why a trace was not replayed to its end.
enum Stop {
    /// A line, and how many were done before it.
    Line(TraceError, u64),
    /// Something else.
    Other(Failure),
}

fn replay(
    args: &SimulateArgs,
    api: &Api,
    trace: &mut Trace<Box<dyn BufRead>>,
    decisions: &mut Decisions<'_>,
) -> Result<Report, Stop> {
    let max_counters = usize::try_from(args.max_counters).unwrap_or(usize::MAX);
    let world = World::new(&api.policy, &api.intake, MemoryOptions { max_counters });
    let mut report = Report::default();
    while let Some(next) = trace.next(&api.policy) {
        match next {
            Ok(entry) => ask(&world, &entry, &mut report, decisions).map_err(Stop::Other)?,
            Err(TraceError::Line { line, bad }) if args.skip_bad => {
                report.skipped += 1;
                decisions.skip(line, &bad).map_err(Stop::Other)?;
            }
            Err(error) => return Err(Stop::Line(error, report.demands + report.bad_requests + report.skipped)),
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

impl Stop {
    fn told(self, trace: &Path) -> Failure {
        let (error, before) = match self {
            Stop::Line(error, before) => (error, before),
            Stop::Other(failure) => return failure,
        };
        let failure = Failure::because(trace.display(), &error);
        if !error.can_go_on() {
            return failure.help("is it a file, and readable?");
        }
        let before = counted(before, "line");
        failure.help(format!("{before} before it done; correct this one, or pass over such lines with --skip-bad"))
    }
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
        let beside = Beside { t: Some(decision.at()), ..Beside::default() };
        answer::write(decision, &fields, beside, &mut self.line);
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

    fn skip(&mut self, line: u64, bad: &BadQuestion) -> Result<(), Failure> {
        let error = json!({ "line": line, "message": bad.message, "place": bad.place, "help": bad.help });
        self.line.push_str(&json!({ "t": null, "error": error }).to_string());
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
