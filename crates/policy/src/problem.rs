//! Everything that can be wrong with a policy file: one [`Kind`] and one constructor each.
//!
//! A problem says what was expected and found (the label, under the caret) and what to do (the help). Each kind has a
//! section in `docs/diagnostics.md`; a test keeps the two in step.

mod render;
mod suggest;

use std::fmt;

use crate::reading::{Place, Text};
pub(crate) use render::masked;
pub(crate) use suggest::nearest;
use suggest::{did_you_mean, listed, quoted};

/// A policy text and the name it goes by in diagnostics.
#[derive(Clone, Copy, Debug)]
pub struct Source<'s> {
    /// Shown before line and column; a path as a rule.
    pub name: &'s str,
    /// The TOML text.
    pub text: &'s str,
}

/// Whether a problem keeps a policy from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It does.
    Error,
    /// It does not, but something is surely not as it was meant.
    Warning,
}

impl Severity {
    /// Its name, as it begins a diagnostic.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// A sort of problem. Its code never changes its meaning.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// `E` or `W` and three digits.
    pub code: &'static str,
    /// What it is about, in a few words.
    pub title: &'static str,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Its kind's code.
    pub code: &'static str,
    /// Whether the policy can be used all the same.
    pub severity: Severity,
    /// The line it begins on, from 1.
    pub line: usize,
    /// The column it begins at, in characters, from 1.
    pub column: usize,
    /// The bytes of the text it is about.
    pub span: std::ops::Range<usize>,
    /// What is wrong, in one line, lower case.
    pub message: String,
    /// What stands under the caret: what was expected and found, or why it is wrong.
    pub label: String,
    /// What to do.
    pub help: Option<String>,
    /// Another place that belongs to it, and what is there.
    also: Option<(Place, String)>,
}

/// All problems of one file, in the order of the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Problems {
    name: String,
    /// The file's text, secrets blotted out, so that a diagnostic can be shown to anybody.
    text: String,
    list: Vec<Problem>,
    /// Errors beyond [`MAX_PROBLEMS`], not kept.
    omitted: usize,
}

/// Problems of one file that are kept. Nobody reads more at once, and a file of a megabyte can hold very many.
pub(crate) const MAX_PROBLEMS: usize = 200;

impl Problems {
    pub(crate) fn of(source: &Source<'_>, mut list: Vec<Problem>) -> Problems {
        list.sort_by(|a, b| (a.span.start, a.severity, a.code).cmp(&(b.span.start, b.severity, b.code)));
        list.dedup();
        let omitted = list.len().saturating_sub(MAX_PROBLEMS);
        if omitted > 0 {
            list.sort_by_key(|problem| problem.severity);
            list.truncate(MAX_PROBLEMS);
            list.sort_by_key(|problem| problem.span.start);
        }
        let text = masked(source.text);
        for problem in &mut list {
            (problem.line, problem.column) = render::line_and_column(&text, problem.span.start);
        }
        Problems { name: source.name.to_owned(), text, list, omitted }
    }

    /// The problems, in the order of the text.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// How many there are, those not kept included.
    pub fn len(&self) -> usize {
        self.list.len() + self.omitted
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The name of the file they are in.
    pub fn source_name(&self) -> &str {
        &self.name
    }

    /// All of them as a compiler prints them: place, line, caret and help. Ends with a line break unless empty.
    pub fn render(&self, color: bool) -> String {
        render::all(self, color)
    }
}

impl<'p> IntoIterator for &'p Problems {
    type Item = &'p Problem;
    type IntoIter = std::slice::Iter<'p, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl std::error::Error for Problems {}

/// Makes the constants of all kinds and their list.
macro_rules! kinds {
    ($($name:ident $code:literal $title:literal)*) => {
        $(const $name: Kind = Kind { code: $code, title: $title };)*

        /// All kinds of problems, in the order of their codes.
        pub fn kinds() -> &'static [Kind] {
            const KINDS: &[Kind] = &[$($name),*];
            KINDS
        }
    };
}

kinds! {
    SYNTAX              "E001" "not TOML"
    DUPLICATE_KEY       "E002" "a key is written twice"
    UNKNOWN_KEY         "E003" "unknown key"
    MISSING_KEY         "E004" "missing key"
    WRONG_TYPE          "E005" "wrong type"
    FILE_TOO_LARGE      "E006" "file too large"
    EMPTY               "E007" "empty where something is needed"
    BAD_NAME            "E008" "a name with characters that names do not have"
    DUPLICATE_NAME      "E009" "two things of one name"
    TOO_MANY            "E010" "more than a policy can hold"
    OUT_OF_RANGE        "E011" "a number out of range"
    UNKNOWN_ATTRIBUTE   "E020" "unknown attribute"
    UNKNOWN_OPERATION   "E021" "unknown operation or class"
    UNKNOWN_UNIT        "E022" "unknown unit"
    UNKNOWN_PLAN        "E023" "unknown plan"
    UNKNOWN_LIMIT       "E024" "unknown limit"
    UNKNOWN_CHOICE      "E025" "none of the words that can stand here"
    UNKNOWN_RECORDS     "E026" "records of an unknown attribute"
    BUILT_IN            "E027" "a built-in name is defined again"
    NOT_A_QUOTA         "E030" "not a quota"
    BAD_AMOUNT          "E031" "an amount that cannot be counted"
    BAD_WINDOW          "E032" "a window that cannot be measured"
    BAD_BURST           "E033" "a burst out of place"
    UNSUITED_QUOTA      "E034" "a quota that its algorithm cannot count"
    BAD_CHOICE          "E035" "a choice of quotas that does not work"
    BAD_DERIVATION      "E036" "a derived quota that does not work"
    BAD_CELLS           "E037" "cells out of place"
    TOO_MANY_CHARGES    "E038" "too many limits on one operation"
    HELD_REFUSALS       "E039" "refused attempts that would be held for ever"
    BAD_ROUTE           "E040" "not a route"
    CONFLICTING_ROUTES  "E041" "two routes that match the same requests"
    BAD_SOURCE          "E042" "not a source"
    UNKNOWN_PARAMETER   "E043" "a path parameter that no route has"
    NO_JWT              "E044" "a token is read, but [jwt] is missing"
    BAD_POINTER         "E045" "not a place in a body"
    BAD_DATE            "E046" "not a date"
    UNSETTLED           "E047" "a settled unit that cannot be counted so"
    COST_TWICE          "E048" "two costs of one operation in one unit"
    CLAIMED_SECRET      "E049" "a secret that is chosen by the token it verifies"
    BAD_NETWORK         "E050" "not a block of addresses"
    CIRCLE              "E051" "attributes that come from each other"
    NOT_A_COST          "E052" "a cost that is not said in one way"
    BAD_KEYS            "E053" "keys that cannot be used"
    BAD_VERIFICATION    "E054" "tokens that cannot be verified so"
    UNKNOWN_ZONE        "E060" "unknown time zone"
    MISALIGNED          "E061" "windows that cannot begin there"
    BAD_DISTINCT        "E062" "distinct values that cannot be counted so"
    BAD_SERVING         "E080" "not a host, prefix or upstream"
    REFUSED             "E099" "refused when it was put together"
    UNUSED_ATTRIBUTE    "W001" "an attribute that nothing uses"
    UNREACHED_SOURCE    "W002" "a source that is never reached"
    OPEN_CHOICE         "W003" "a choice of quotas without default"
    UNUSED_JWT          "W004" "[jwt] without a use"
    UNTRUSTED_CLAIMS    "W005" "claims that never count"
    UNUSED_UNIT         "W006" "a unit that no limit counts"
    PASSED_OVER_KEY     "W007" "a key that is not used"
    UNUSED_CLIENT       "W020" "[client] without a use"
    TRUSTED_BY_ALL      "W021" "every address is trusted"
    UNKNOWN_AGE         "W040" "a quota by an age that nobody has"
    UNREACHED_LIMIT     "W041" "a limit that no request reaches"
    IDLE_CASE           "W042" "a case of a quota that no request has"
    IDLE_QUOTA          "W043" "a quota that never binds"
    EVADED_LIMIT        "W044" "a limit that is evaded by leaving something out"
    LARGER_WITHOUT      "W045" "a quota that is larger for those who leave something out"
    NEEDLESS_LENIENCY   "W046" "a leniency that nothing needs"
    UNSOLD_PLAN         "W047" "a plan that nobody is on"
    PLAN_WITHOUT_QUOTA  "W048" "a plan that no quota knows"
}

impl Problem {
    fn new(kind: &Kind, place: Place, message: String, label: impl Into<String>) -> Problem {
        let severity = if kind.code.starts_with('W') { Severity::Warning } else { Severity::Error };
        Problem {
            code: kind.code,
            severity,
            line: 0,
            column: 0,
            span: place.start..place.end,
            message,
            label: label.into(),
            help: None,
            also: None,
        }
    }

    fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }

    fn perhaps(mut self, help: Option<String>) -> Problem {
        self.help = help.or(self.help);
        self
    }

    fn also(mut self, place: Place, label: impl Into<String>) -> Problem {
        self.also = Some((place, label.into()));
        self
    }
}

impl Problem {
    /// Whether it may be there only because a part of the file could not be read.
    pub(crate) fn follows_from(&self, lost: &str) -> bool {
        let kinds: &[Kind] = match lost {
            "attributes" => &[UNKNOWN_ATTRIBUTE, UNKNOWN_RECORDS],
            "operations" => &[UNKNOWN_OPERATION, UNKNOWN_PARAMETER],
            "units" => &[UNKNOWN_UNIT],
            "plans" => &[UNKNOWN_PLAN],
            "limit" => &[UNKNOWN_LIMIT, DUPLICATE_KEY],
            "jwt" => &[NO_JWT],
            _ => &[],
        };
        kinds.iter().any(|kind| kind.code == self.code)
    }
}

/// The shape of the file.
impl Problem {
    pub(crate) fn syntax(place: Place, message: &str) -> Problem {
        let (what, expected) = match message {
            "string values must be quoted, expected literal string" => {
                ("text without quotes", "expected a value, as `\"text\"`")
            }
            _ => message.split_once(", ").unwrap_or((message, "not TOML from here on")),
        };
        Problem::new(&SYNTAX, place, format!("not TOML: {what}"), expected)
    }

    pub(crate) fn duplicate_key(place: Place, key: &str) -> Problem {
        let message = format!("key {} is written twice", quoted(key));
        Problem::new(&DUPLICATE_KEY, place, message, "it already has a value").help("keep one of the two")
    }

    pub(crate) fn unknown_key(key: &Text, whole: &str, known: &[&str]) -> Problem {
        let message = format!("unknown key {} in {whole}", quoted(key));
        let help = did_you_mean(key, known).unwrap_or_else(|| format!("keys here: {}", listed(known)));
        Problem::new(&UNKNOWN_KEY, key.place, message, "not a key that means something here").help(help)
    }

    pub(crate) fn missing_key(place: Place, key: &str, whole: &str, example: &str) -> Problem {
        let message = format!("{whole} has no `{key}`");
        Problem::new(&MISSING_KEY, place, message, format!("`{key}` is required"))
            .help(format!("add `{key} = {example}`"))
    }

    pub(crate) fn wrong_type(place: Place, key: &str, expected: &str, found: &str) -> Problem {
        let message = format!("wrong type for {}", quoted(key));
        Problem::new(&WRONG_TYPE, place, message, format!("expected {expected}, found {}", with_article(found)))
    }

    pub(crate) fn unquoted_quota(place: Place, key: &str, written: &str) -> Problem {
        Problem::wrong_type(place, key, "a string or a table", "integer")
            .help(format!("write `\"{written}/min\"`, or `\"{written}\"` for `algorithm = \"concurrency\"`"))
    }

    pub(crate) fn operation_not_table(place: Place, key: &str, found: &str) -> Problem {
        Problem::wrong_type(place, key, "a table", found).help("write `{ routes = [\"METHOD /path\"] }`")
    }

    pub(crate) fn limit_not_in_list(place: Place, found: &str) -> Problem {
        Problem::wrong_type(place, "limit", "a list of tables", found)
            .help("each limit begins with `[[limit]]`, in double brackets")
    }

    pub(crate) fn file_too_large(most: usize, found: usize) -> Problem {
        let message = format!("file of {found} bytes is too large");
        Problem::new(&FILE_TOO_LARGE, Place::at(0), message, format!("a policy file has at most {most} bytes"))
            .help("leave out records that only repeat their plan, or split the API into two policies")
    }

    pub(crate) fn empty(place: Place, key: &str, help: &str) -> Problem {
        Problem::new(&EMPTY, place, format!("{} is empty", quoted(key)), "at least one is needed").help(help)
    }

    pub(crate) fn empty_value(place: Place) -> Problem {
        Problem::new(&EMPTY, place, "value is empty".to_owned(), "an attribute has no empty value").help("give it one")
    }

    pub(crate) fn empty_secret(place: Place) -> Problem {
        Problem::new(&EMPTY, place, "secret is empty".to_owned(), "anybody could sign with it")
            .help("leave it out if tokens of this record are not verified")
    }

    pub(crate) fn bad_name(name: &Text, part: Place, kind: &str, allowed: &str) -> Problem {
        let message = format!("{} cannot be the name of {kind}", quoted(name));
        Problem::new(&BAD_NAME, part, message, format!("expected {allowed}"))
    }

    pub(crate) fn duplicate_name(name: &Text, kind: &str, first: Place) -> Problem {
        let message = format!("two {kind}s are called {}", quoted(name));
        Problem::new(&DUPLICATE_NAME, name.place, message, "the second one")
            .also(first, "the first one")
            .help("give one of them another name")
    }

    pub(crate) fn operation_is_class(class: &Text, operation: Option<Place>) -> Problem {
        let message = format!("{} is an operation and a class", quoted(class));
        let problem = Problem::new(&DUPLICATE_NAME, class.place, message, "named as a class here")
            .help("`on` names both alike, so that one of them needs another name");
        match operation {
            Some(place) => problem.also(place, "named as an operation here"),
            None => {
                problem.help("it is the operation of what no route matches; `default_operation` names it otherwise")
            }
        }
    }

    pub(crate) fn repeated(item: &Text, key: &str, first: Place) -> Problem {
        let message = format!("{} is twice in {}", quoted(item), quoted(key));
        Problem::new(&DUPLICATE_NAME, item.place, message, "said again here")
            .also(first, "said here")
            .help("say it once")
    }

    pub(crate) fn too_many(place: Place, kind: &str, most: usize, found: usize) -> Problem {
        let message = format!("{found} {kind} are too many");
        Problem::new(&TOO_MANY, place, message, format!("a policy has at most {most}"))
    }

    pub(crate) fn out_of_range(place: Place, key: &str, expected: &str, found: &str) -> Problem {
        let message = format!("{} is out of range", quoted(key));
        Problem::new(&OUT_OF_RANGE, place, message, format!("expected {expected}, found {found}"))
    }
}

/// Names that refer to nothing.
impl Problem {
    pub(crate) fn unknown_attribute(name: &str, place: Place, known: &[&str]) -> Problem {
        let message = format!("unknown attribute {}", quoted(name));
        let help = did_you_mean(name, known)
            .unwrap_or_else(|| format!("declare it under [attributes], or use one of {}", listed(known)));
        Problem::new(&UNKNOWN_ATTRIBUTE, place, message, "no such attribute").help(help)
    }

    pub(crate) fn unknown_operation(name: &Text, known: &[&str]) -> Problem {
        let message = format!("unknown operation or class {}", quoted(name));
        let help = did_you_mean(name, known).unwrap_or_else(|| match known {
            [] => "declare it under [operations]".to_owned(),
            _ => format!("declare it under [operations], or use one of {}", listed(known)),
        });
        Problem::new(&UNKNOWN_OPERATION, name.place, message, "no operation and no class has this name").help(help)
    }

    pub(crate) fn unknown_class(name: &Text, known: &[&str]) -> Problem {
        let message = format!("unknown class {}", quoted(name));
        let help = did_you_mean(name, known).unwrap_or_else(|| match known {
            [] => "operations get a class by `class`".to_owned(),
            _ => format!("classes: {}", listed(known)),
        });
        Problem::new(&UNKNOWN_OPERATION, name.place, message, "no operation has this class").help(help)
    }

    pub(crate) fn unknown_unit(name: &Text, known: &[&str]) -> Problem {
        let message = format!("unknown unit {}", quoted(name));
        let help = did_you_mean(name, known)
            .unwrap_or_else(|| format!("declare it as [units.NAME], or use one of {}", listed(known)));
        Problem::new(&UNKNOWN_UNIT, name.place, message, "no such unit").help(help)
    }

    pub(crate) fn unknown_plan(name: &Text, known: &[&str]) -> Problem {
        let message = format!("unknown plan {}", quoted(name));
        let help = did_you_mean(name, known).unwrap_or_else(|| match known {
            [] => "list it in `names` of [plans]".to_owned(),
            _ => format!("plans: {}; `names` in [plans] lists them", listed(known)),
        });
        Problem::new(&UNKNOWN_PLAN, name.place, message, "nothing sells this plan").help(help)
    }

    pub(crate) fn unknown_limit(name: &str, place: Place, known: &[&str]) -> Problem {
        let message = format!("unknown limit {}", quoted(name));
        let help = did_you_mean(name, known).unwrap_or_else(|| match known {
            [] => "limits are named by `name`".to_owned(),
            _ => format!("limits: {}", listed(known)),
        });
        Problem::new(&UNKNOWN_LIMIT, place, message, "no limit has this name").help(help)
    }

    pub(crate) fn no_local_share(place: Place) -> Problem {
        let message = "`local` is not in this version".to_owned();
        let label = "a node's share, where counters are in a store that nodes share";
        Problem::new(&UNKNOWN_CHOICE, place, message, label)
            .help("write `closed` to refuse or `open` to admit uncounted; `local` comes with stores that nodes share")
    }

    pub(crate) fn unknown_choice(place: Place, found: &str, kind: &str, known: &[&str]) -> Problem {
        let message = format!("unknown {kind} {}", quoted(found));
        let help = did_you_mean(found, known);
        let problem = Problem::new(&UNKNOWN_CHOICE, place, message, format!("expected one of {}", listed(known)));
        problem.perhaps(help)
    }

    pub(crate) fn unknown_method(place: Place, found: &str, known: &[&str]) -> Problem {
        let message = format!("unknown method {}", quoted(found));
        if found == "HEAD" {
            return Problem::new(&UNKNOWN_CHOICE, place, message, "HEAD counts as GET").help("write `GET`");
        }
        let label = "expected a method in capitals, such as `GET`, `POST`, `PUT`, `PATCH` or `DELETE`";
        Problem::new(&UNKNOWN_CHOICE, place, message, label).perhaps(did_you_mean(found, known))
    }

    pub(crate) fn unknown_records(table: &Text, known: &[&str]) -> Problem {
        let attribute = table.strip_suffix('s').unwrap_or(table);
        let message = format!("records of an unknown attribute {}", quoted(attribute));
        let help = did_you_mean(table, known).unwrap_or_else(|| {
            "records are under the name of a declared attribute and an `s`, as [apps.NAME]".to_owned()
        });
        Problem::new(&UNKNOWN_RECORDS, table.place, message, "no attribute of this name is declared").help(help)
    }

    pub(crate) fn built_in(name: &Text, kind: &str, why: &str) -> Problem {
        let message = format!("{} is a built-in {kind}", quoted(name));
        Problem::new(&BUILT_IN, name.place, message, why).help("leave it out, or choose another name")
    }
}

/// Quotas.
impl Problem {
    pub(crate) fn not_a_quota(place: Place, found: &str, label: &str, help: Option<String>) -> Problem {
        let usual = "a quota is `\"100/min\"`, `\"100/min burst 20\"`, `\"1/30 of LIMIT per 1s\"` or `\"unlimited\"`";
        Problem::new(&NOT_A_QUOTA, place, format!("{} is not a quota", quoted(found)), label).help(usual).perhaps(help)
    }

    pub(crate) fn bad_amount(place: Place, found: &str, label: &str, help: Option<String>) -> Problem {
        Problem::new(&BAD_AMOUNT, place, format!("{} is not an amount", quoted(found)), label).perhaps(help)
    }

    pub(crate) fn bad_window(place: Place, found: &str, label: &str, help: Option<String>) -> Problem {
        Problem::new(&BAD_WINDOW, place, format!("{} is not a window", quoted(found)), label)
            .help("windows are whole numbers of `ms`, `s`, `min`, `h` or `d`, from 1ms to 366d, or `month`")
            .perhaps(help)
    }

    /// The unit of time that was probably meant.
    pub(crate) fn unit_of_time_meant(name: &str) -> Option<String> {
        let known =
            ["ms", "sec", "second", "seconds", "min", "minute", "minutes", "hour", "hours", "day", "days", "month"];
        did_you_mean(name, &known)
    }

    pub(crate) fn bad_burst(place: Place, label: &str, help: &str) -> Problem {
        Problem::new(&BAD_BURST, place, "burst out of place".to_owned(), label).help(help)
    }

    pub(crate) fn unsuited_quota(place: Place, found: &str, algorithm: &str, label: &str, help: &str) -> Problem {
        let message = format!("{algorithm} cannot count {}", quoted(found));
        Problem::new(&UNSUITED_QUOTA, place, message, label).help(help)
    }

    pub(crate) fn unknown_zone(name: &Text, known: &[&str]) -> Problem {
        let message = format!("unknown time zone {}", quoted(name));
        let help = did_you_mean(name, known)
            .unwrap_or_else(|| "write a name of the tz database, as `Europe/Berlin`".to_owned());
        Problem::new(&UNKNOWN_ZONE, name.place, message, "not in the tz database").help(help)
    }

    pub(crate) fn misaligned(place: Place, label: &str, help: &str) -> Problem {
        Problem::new(&MISALIGNED, place, "windows cannot begin there".to_owned(), label).help(help)
    }

    pub(crate) fn bad_distinct(place: Place, label: &str, help: &str) -> Problem {
        Problem::new(&BAD_DISTINCT, place, "distinct values cannot be counted so".to_owned(), label).help(help)
    }

    pub(crate) fn bad_choice(place: Place, message: &str, label: &str, help: &str) -> Problem {
        Problem::new(&BAD_CHOICE, place, message.to_owned(), label).help(help)
    }

    pub(crate) fn bad_share(place: Place, found: &str, label: &str, help: &str) -> Problem {
        Problem::bad_derivation(place, &format!("{} is not a share", quoted(found)), label, help)
    }

    pub(crate) fn bad_derivation(place: Place, message: &str, label: &str, help: &str) -> Problem {
        Problem::new(&BAD_DERIVATION, place, message.to_owned(), label).help(help)
    }

    pub(crate) fn bad_cells(place: Place, label: &str, help: &str) -> Problem {
        Problem::new(&BAD_CELLS, place, "cells out of place".to_owned(), label).help(help)
    }

    pub(crate) fn held_refusals(place: Place) -> Problem {
        let message = "concurrency cannot count refused attempts".to_owned();
        Problem::new(&HELD_REFUSALS, place, message, "a refused attempt holds nothing that could be released")
            .help("leave it out, or count attempts in a limit of another algorithm beside this one")
    }

    pub(crate) fn too_many_charges(limit: Place, operation: &str, found: usize, most: usize) -> Problem {
        let message = format!("{found} limits apply to operation {}", quoted(operation));
        Problem::new(&TOO_MANY_CHARGES, limit, message, format!("one request can meet at most {most} limits"))
            .help("narrow some limits by `on`, or make one limit of several by a quota `by` an attribute")
    }
}

/// Routes, sources and records.
impl Problem {
    pub(crate) fn bad_route(place: Place, found: &str, label: &str, help: &str) -> Problem {
        Problem::new(&BAD_ROUTE, place, format!("{} is not a route", quoted(found)), label).help(help)
    }

    pub(crate) fn bad_base(place: Place, found: &str, label: &str, help: &str) -> Problem {
        Problem::new(&BAD_ROUTE, place, format!("{} cannot begin a route", quoted(found)), label).help(help)
    }

    pub(crate) fn unfit_base(route: &Text, base: &Text, why: &str) -> Problem {
        let message = format!("{} does not fit base {}", quoted(route), quoted(base));
        Problem::new(&BAD_ROUTE, route.place, message, why).also(base.place, "the base").help("change one of the two")
    }

    pub(crate) fn conflicting_routes(route: &Text, first: Place, operation: &str) -> Problem {
        let message = format!("{} matches what a route before it matches", quoted(route));
        let problem = Problem::new(&CONFLICTING_ROUTES, route.place, message, "never reached");
        if first == route.place {
            return problem.help("two of `bases` match the same paths: leave one out");
        }
        problem
            .also(first, format!("leads to operation {}", quoted(operation)))
            .help("keep one of the two, or tell them apart by method or by a fixed segment")
    }

    pub(crate) fn bad_source(place: Place, found: &str, label: &str, help: Option<String>) -> Problem {
        let forms = "sources: `header:NAME`, `query:NAME`, `path:PARAMETER`, `bearer`, `client`, \
                     `jwt:CLAIM`, `host:PATTERN`, `body:/POINTER`, `attribute:NAME`, `constant:VALUE`";
        Problem::new(&BAD_SOURCE, place, format!("{} is not a source", quoted(found)), label).help(forms).perhaps(help)
    }

    pub(crate) fn unknown_parameter(place: Place, name: &str, known: &[&str]) -> Problem {
        let message = format!("no route has a parameter {}", quoted(name));
        let help = did_you_mean(name, known).unwrap_or_else(|| {
            if known.is_empty() {
                "no route has any parameter".to_owned()
            } else {
                format!("parameters: {}", listed(known))
            }
        });
        Problem::new(&UNKNOWN_PARAMETER, place, message, "this source is never present").help(help)
    }

    pub(crate) fn no_jwt(place: Place, what: &str) -> Problem {
        Problem::new(&NO_JWT, place, format!("{what} without [jwt]"), "nothing says where the token is")
            .help("add `[jwt]` with `from = \"header:Authorization\"`")
    }

    pub(crate) fn bad_pointer(place: Place, found: &str, expected: &str, help: &str) -> Problem {
        let message = format!("{} is not a place in a body", quoted(found));
        Problem::new(&BAD_POINTER, place, message, format!("expected {expected}")).help(help)
    }

    pub(crate) fn bad_date(place: Place, found: &str, label: &str) -> Problem {
        Problem::new(&BAD_DATE, place, format!("{} is not a date", quoted(found)), label)
            .help("write `2020-05-28` or `2020-05-28T12:00:00Z`")
    }

    pub(crate) fn bad_serving(found: &Text, kind: &str, label: &str, help: &str) -> Problem {
        Problem::new(&BAD_SERVING, found.place, format!("{} is not {kind}", quoted(found)), label).help(help)
    }

    pub(crate) fn nothing_to_strip(place: Place) -> Problem {
        let message = "no prefix to strip".to_owned();
        Problem::new(&BAD_SERVING, place, message, "there is no `prefix`").help("leave it out, or add `prefix`")
    }

    pub(crate) fn unsettled(place: Place, message: &str, label: &str, help: &str) -> Problem {
        Problem::new(&UNSETTLED, place, message.to_owned(), label).help(help)
    }

    pub(crate) fn cost_twice(operation: &Text, unit: &str, first: Place) -> Problem {
        let message = format!("the cost of {} in {} is stated twice", quoted(operation), quoted(unit));
        Problem::new(&COST_TWICE, operation.place, message, "stated again here")
            .also(first, "stated here")
            .help("keep one of the two")
    }

    pub(crate) fn cost_of_rest_twice(place: Place, unit: &str, first: Place) -> Problem {
        let message = format!("the cost of all other operations in {} is stated twice", quoted(unit));
        Problem::new(&COST_TWICE, place, message, "has no `on` either")
            .also(first, "has no `on`")
            .help("name the operations of one of the two")
    }

    pub(crate) fn no_cost(place: Place) -> Problem {
        let label = "expected `is`, `header`, `length_of`, `sum_of` or `bytes_of`";
        Problem::new(&NOT_A_COST, place, "a cost does not say where it is stated".to_owned(), label)
            .help("write `is = 5`, or `length_of = \"body:/items\"`")
    }

    pub(crate) fn two_costs(key: &Text, first: &Text) -> Problem {
        let message = format!("a cost has {} and {}", quoted(first), quoted(key));
        Problem::new(&NOT_A_COST, key.place, message, "stated in another way here")
            .also(first.place, "stated in one way here")
            .help("keep one of the two")
    }

    pub(crate) fn claimed_secret(secret: Place, attribute: &str, source: Place) -> Problem {
        let message = format!("the secret of {} is chosen by the token it verifies", quoted(attribute));
        let label = "a token could claim to be of the record whose secret it is signed with";
        Problem::new(&CLAIMED_SECRET, secret, message, label)
            .also(source, "comes from the token")
            .help("put the secret in records of an attribute that does not come from the token")
    }

    pub(crate) fn bad_keys(file: &Text, why: &str) -> Problem {
        let message = format!("no keys can be taken from {}", quoted(file));
        let help = match why {
            _ if why.contains("private key") => {
                "have the issuer make it anew, as others may have read it, and name the public half"
            }
            _ if file.contains("://") => "have whatever fetches the keys write a file, which is watched, and name that",
            _ => "`jwks` is a JSON Web Key Set, `key` has public keys as PEM; both are files beside the policy",
        };
        Problem::new(&BAD_KEYS, file.place, message, why).help(help)
    }

    pub(crate) fn too_many_keys(jwks: Place, key: Option<Place>, why: &str) -> Problem {
        let message = "these keys do not go together".to_owned();
        let problem = Problem::new(&BAD_KEYS, jwks, message, why).help("leave out those that nothing is signed by");
        match key {
            Some(place) => problem.also(place, "the others"),
            None => problem,
        }
    }

    pub(crate) fn passed_over_keys(file: &Text, keys: &[String]) -> Problem {
        let more = keys.len().saturating_sub(1);
        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        let message = format!("not every key of {} is used", quoted(file));
        let label = keys.first().map_or("", String::as_str);
        Problem::new(&PASSED_OVER_KEY, file.place, message, format!("{label}{more}"))
            .help("claims of tokens that such a key signed do not count: have the issuer sign by another algorithm")
    }

    pub(crate) fn without_keys(key: &Text) -> Problem {
        let message = format!("{} without keys", quoted(key));
        Problem::new(&BAD_VERIFICATION, key.place, message, "it is about tokens that keys verify")
            .help("add `jwks = \"./keys.json\"` or `key = \"./public.pem\"`, or leave it out")
    }

    pub(crate) fn verified_twice(upstream: Place, keys: Place) -> Problem {
        let message = "tokens are verified here and by the upstream".to_owned();
        Problem::new(&BAD_VERIFICATION, upstream, message, "makes every claim count, verified or not")
            .also(keys, "verifies tokens")
            .help("leave out `upstream_verifies`, or leave out the keys")
    }

    pub(crate) fn no_key_for(algorithms: Place, keys: Place) -> Problem {
        let message = "no token can be verified".to_owned();
        Problem::new(&BAD_VERIFICATION, algorithms, message, "no key is for any of these algorithms")
            .also(keys, "the keys")
            .help("name an algorithm that a key is for, or leave `algorithms` out")
    }

    pub(crate) fn unsigned_algorithm(place: Place) -> Problem {
        let message = "tokens by `none` are not signed".to_owned();
        Problem::new(&BAD_VERIFICATION, place, message, "anybody could write one")
            .help("leave it out: it is never taken")
    }

    pub(crate) fn unknown_algorithm(name: &Text) -> Problem {
        let message = format!("{} cannot be verified", quoted(name));
        Problem::new(&BAD_VERIFICATION, name.place, message, "not known here")
            .help("leave it out, and have the issuer sign by another, such as ES256, ES384 or EdDSA")
    }

    pub(crate) fn public_secret(place: Place) -> Problem {
        let message = "the text of a key as a secret".to_owned();
        Problem::new(&BAD_VERIFICATION, place, message, "whoever has the public key could sign by it")
            .help("`secret` is for HS256; name public keys by `jwks` or `key` in [jwt]")
    }

    pub(crate) fn bad_network(text: &Text, label: &str, help: Option<String>) -> Problem {
        let message = format!("{} is not a block of addresses", quoted(text));
        let usual = "write an address, as `192.0.2.7`, or a block, as `10.0.0.0/8` or `fd00::/8`";
        Problem::new(&BAD_NETWORK, text.place, message, label).help(usual).perhaps(help)
    }

    /// `circle` has the attributes, each with the source that leads to the next.
    pub(crate) fn circle(circle: &[(&str, &Text)]) -> Problem {
        let names: Vec<String> = circle.iter().map(|(name, _)| quoted(name)).collect();
        let place = circle.first().map_or(Place::at(0), |(_, source)| source.place);
        let (message, label) = match &*names {
            [only] => (format!("attribute {only} comes from itself"), "leads back at once".to_owned()),
            [first, others @ ..] => {
                (format!("attribute {first} comes from itself"), format!("leads back by {}", others.join(", then ")))
            }
            [] => Default::default(),
        };
        Problem::new(&CIRCLE, place, message, label).help("take one of them from the request")
    }

    /// What the core or the intake refused although nothing was found here. It points to a gap in these checks.
    pub(crate) fn refused(place: Place, why: &dyn fmt::Display) -> Problem {
        Problem::new(&REFUSED, place, format!("the policy cannot be put together: {why}"), "")
            .help("this should have been found earlier; please report it with the file")
    }
}

/// Warnings.
impl Problem {
    pub(crate) fn unused_attribute(name: &Text) -> Problem {
        let message = format!("attribute {} is not used", quoted(name));
        Problem::new(&UNUSED_ATTRIBUTE, name.place, message, "no limit and no record refers to it")
            .help("count by it with `per`, or leave it out")
    }

    pub(crate) fn unreached_source(place: Place, always: Place) -> Problem {
        Problem::new(&UNREACHED_SOURCE, place, "source is never reached".to_owned(), "the one before is always present")
            .also(always, "always present")
            .help("put the constant last")
    }

    pub(crate) fn open_choice(place: Place, attribute: &str) -> Problem {
        let message = format!("requests with another {} have no limit", quoted(attribute));
        Problem::new(&OPEN_CHOICE, place, message, "no `default` for values that are not listed")
            .help("add `default = \"unlimited\"` if that is meant, or the quota of all others")
    }

    pub(crate) fn unused_jwt(place: Place) -> Problem {
        Problem::new(&UNUSED_JWT, place, "[jwt] is not used".to_owned(), "no attribute has a `jwt:` source")
            .help("leave it out, or read a claim with `jwt:CLAIM`")
    }

    pub(crate) fn untrusted_claims(place: Place) -> Problem {
        let message = "claims of tokens never count".to_owned();
        Problem::new(&UNTRUSTED_CLAIMS, place, message, "there is no key and no `secret` to verify tokens with").help(
            "name the issuer's keys by `jwks` or `key`, give records a `secret`, or state \
                 `upstream_verifies = true` if the upstream rejects forged tokens",
        )
    }

    pub(crate) fn unused_client(place: Place) -> Problem {
        Problem::new(&UNUSED_CLIENT, place, "[client] is not used".to_owned(), "no attribute has the source `client`")
            .help("leave it out, or read the address with `client`")
    }

    pub(crate) fn trusted_by_all(text: &Text) -> Problem {
        let message = format!("{} trusts every address", quoted(text));
        let label = "a caller can write any client's address into the header";
        Problem::new(&TRUSTED_BY_ALL, text.place, message, label).help("name the addresses of the proxies alone")
    }

    pub(crate) fn unreached_limit(place: Place, label: &str) -> Problem {
        Problem::new(&UNREACHED_LIMIT, place, "no request reaches this limit".to_owned(), label)
            .help("change its conditions or its quota, or leave it out")
    }

    pub(crate) fn idle_case(value: &Text, by: &str) -> Problem {
        let message = format!("no request that the limit is on has {} as {}", quoted(value), quoted(by));
        Problem::new(&IDLE_CASE, value.place, message, "this quota is nobody's")
            .help("leave it out, or correct the value")
    }

    pub(crate) fn idle_quota(quota: &Text, stricter: &str) -> Problem {
        let message = format!("quota never binds: limit {} always refuses first", quoted(stricter));
        Problem::new(&IDLE_QUOTA, quota.place, message, "more than the other limit ever admits")
            .help("lower it, or leave the limit out")
    }

    /// `left_out` are the sources that a caller can leave out; the limit counts by the attribute, or has a condition or a
    /// choice by it.
    pub(crate) fn evaded_limit(
        (place, is_counted): (Place, bool),
        limit: &str,
        attribute: &str,
        left_out: &[String],
        operation: &str,
    ) -> Problem {
        let message = format!("limit {} can be evaded by leaving out {}", quoted(limit), quoted(attribute));
        let label = format!("without {} nothing limits {}", sources(left_out), quoted(operation));
        let together =
            format!("write `\"{attribute}?\"` to count those who lack it together, give it one more source, ");
        Problem::new(&EVADED_LIMIT, place, message, label).help(format!(
            "{}add a limit that does not depend on it, or state `lenient_without = [\"{attribute}\"]` if it is meant",
            if is_counted { &together } else { "" }
        ))
    }

    /// `left_out` are the sources that a caller can leave out.
    pub(crate) fn larger_without(place: Place, attribute: &str, left_out: &[String]) -> Problem {
        let message = format!("quota is larger for those who leave out {}", quoted(attribute));
        let label = format!("without {} there is more than with some value", sources(left_out));
        Problem::new(&LARGER_WITHOUT, place, message, label).help(format!(
            "make `default` the smallest quota, or state `lenient_without = [\"{attribute}\"]` if it is meant"
        ))
    }

    pub(crate) fn needless_leniency(attribute: &Text) -> Problem {
        let message = format!("leaving out {} evades nothing here", quoted(attribute));
        let label = "nobody gets rid of the limit by that, or other limits apply all the same";
        Problem::new(&NEEDLESS_LENIENCY, attribute.place, message, label).help("leave it out")
    }

    pub(crate) fn unsold_plan(plan: &Text, known: &[&str]) -> Problem {
        let message = format!("nobody is on plan {}", quoted(plan));
        let label = "no record has it, it is not the default, and [plans] does not list it";
        let listed = "list it in `names` of [plans] if keys and their plans are kept elsewhere";
        let help = did_you_mean(plan, known).map_or(listed.to_owned(), |meant| format!("{meant} Or {listed}"));
        Problem::new(&UNSOLD_PLAN, plan.place, message, label).help(help)
    }

    pub(crate) fn plan_without_quota(plan: &Text, known: &[&str]) -> Problem {
        let message = format!("no quota knows plan {}", quoted(plan));
        let label = "who is on it has what those without a plan have";
        let help = did_you_mean(plan, known).unwrap_or_else(|| "give it a case in a quota `by = \"plan\"`".to_owned());
        Problem::new(&PLAN_WITHOUT_QUOTA, plan.place, message, label).help(help)
    }

    pub(crate) fn unknown_age(place: Place) -> Problem {
        Problem::new(&UNKNOWN_AGE, place, "nobody has an age".to_owned(), "no record says when it was `created`")
            .help("give records a `created`, or write the `default` alone")
    }

    pub(crate) fn unused_unit(name: &Text) -> Problem {
        let message = format!("unit {} is not used", quoted(name));
        Problem::new(&UNUSED_UNIT, name.place, message, "no limit counts it")
            .help("count it with `unit` in a limit, or leave it out")
    }
}

/// Sources as a list of alternatives; more than a few are only counted.
fn sources(all: &[String]) -> String {
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    listed(&all)
}

fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {noun}")
}
