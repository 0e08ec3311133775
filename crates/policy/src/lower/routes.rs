//! Operations and their routes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use tidegate_core::OperationDraft;

use super::Lowering;
use crate::file;
use crate::intake::{Case, MAX_ROUTES, Plus, RouteDraft, percent_decode};
use crate::problem::Problem;
use crate::reading::{Place, Text};

/// Methods of the HTTP registry that APIs use. `HEAD` counts as `GET`.
const METHODS: &[&str] = &[
    "GET",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "QUERY",
    "SEARCH",
    "REPORT",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "LINK",
    "UNLINK",
    "PURGE",
];

/// Most prefixes: every route is matched under each of them.
const MAX_BASES: usize = 16;

/// Methods and shapes that are taken, by whom, and where that was written.
pub(super) type Taken<'f> = HashMap<(&'f str, String), (&'f str, Place)>;

impl<'f> Lowering<'f> {
    /// All operations, in the order written, then the default one if it is not among them.
    pub(super) fn operations(&self) -> Vec<OperationDraft> {
        let mut operations: Vec<OperationDraft> = self.file.operations.iter().map(operation).collect();
        let default = self.names.default_operation;
        if !operations.iter().any(|operation| operation.name == default) {
            operations.push(OperationDraft { name: default.to_owned(), ..OperationDraft::default() });
        }
        operations
    }

    /// The prefixes of all routes.
    pub(super) fn bases(&mut self) -> Vec<String> {
        let file = self.file;
        super::names::each_once(&file.bases, "bases", &mut self.problems);
        if let Some(base) = file.bases.get(MAX_BASES) {
            self.note(Problem::too_many(base.place, "bases", MAX_BASES, file.bases.len()));
        }
        for base in &file.bases {
            if let Err(fault) = check_base(base) {
                self.note(Problem::bad_base(base.part(fault.part), base, &fault.label, &fault.help));
            }
        }
        let prefix = self.prefix();
        let bases = file.bases.iter().map(|base| format!("{prefix}{}", &**base)).collect::<Vec<_>>();
        if bases.is_empty() && !prefix.is_empty() { vec![prefix.to_owned()] } else { bases }
    }

    /// How fixed segments are compared.
    pub(super) fn case(&self) -> Case {
        Case::of(self.file.ignore_case)
    }

    /// The prefix of the server's that every path begins with, if it is one.
    fn prefix(&self) -> &'f str {
        let prefix = self.file.serve.as_ref().and_then(|serve| serve.prefix.as_deref()).unwrap_or_default();
        if check_base(prefix).is_ok() && parameter_free(prefix) { prefix } else { "" }
    }

    /// All routes that are right by themselves, conflicts noted.
    pub(super) fn routes(&mut self) -> Vec<RouteDraft> {
        let mut taken = Taken::new();
        let mut routes = Vec::new();
        self.count_routes();
        for operation in &self.file.operations {
            for route in &operation.routes {
                if let Some((method, template)) = self.route(route) {
                    self.note_conflict(&mut taken, operation, route, (method, template));
                    let (method, template) = (method.to_owned(), template.to_owned());
                    routes.push(RouteDraft { operation: operation.name.to_string(), method, template });
                }
            }
        }
        routes
    }

    /// Notes that there are too many routes, bases multiplied in.
    fn count_routes(&mut self) {
        let routes = self.file.operations.iter().flat_map(|operation| &operation.routes);
        let found = routes.clone().count() * self.file.bases.len().max(1);
        if let Some(last) = routes.last().filter(|_| found > MAX_ROUTES) {
            self.note(Problem::too_many(last.place, "routes, one under each of `bases`,", MAX_ROUTES, found));
        }
    }

    /// The method and the template of a route, if it is one.
    fn route(&mut self, route: &'f Text) -> Option<(&'f str, &'f str)> {
        let noted = self.problems.len();
        let trimmed = route.trim();
        let Some((method, template)) = trimmed.split_once(char::is_whitespace).filter(|_| !trimmed.starts_with('/'))
        else {
            let help = if trimmed.starts_with('/') {
                format!("write `GET {trimmed}`, or `* {trimmed}` for every method")
            } else {
                "write a method and a path, as `GET /messages/{id}`".to_owned()
            };
            self.note(Problem::bad_route(route.place, route, "expected a method, a space and a path", &help));
            return None;
        };
        let template = template.trim_start();
        if method != "*" {
            self.check_method(method, route.place_of(method));
        }
        if let Err(fault) = check_template(template) {
            let start = template.as_ptr().addr() - route.as_ptr().addr();
            let part = start + fault.part.start..start + fault.part.end;
            self.note(Problem::bad_route(route.part(part), route, &fault.label, &fault.help));
        }
        if self.problems.len() > noted {
            return None;
        }
        if let Err(why) = RouteDraft::parse("", &format!("{method} {template}")) {
            self.note(Problem::bad_route(route.place, route, &why, "see \"Routes\" in docs/policy.md"));
            return None;
        }
        Some((method, template))
    }

    fn note_conflict(
        &mut self,
        taken: &mut Taken<'f>,
        operation: &'f file::Operation,
        route: &'f Text,
        (method, template): (&'f str, &'f str),
    ) {
        let bases = self.file.bases.iter().take(MAX_BASES).enumerate();
        let each_once = bases.filter(|(at, base)| !self.file.bases[..*at].iter().any(|earlier| **earlier == ***base));
        let mut bases: Vec<&Text> = each_once.map(|(_, base)| base).collect();
        let no_base = Text::default();
        if bases.is_empty() {
            bases.push(&no_base);
        }
        for base in bases {
            let template = format!("{}{}{}", self.prefix(), &**base, if template == "/" { "" } else { template });
            let whole = RouteDraft::parse("", &format!("{method} {template}"));
            if let (Ok(()), Err(why)) = (check_base(base), whole) {
                self.problems.push(Problem::unfit_base(route, base, &why));
                return;
            }
            let shape = (method, shape(&template, self.case()));
            if let Some((other, place)) = taken.get(&shape) {
                self.problems.push(Problem::conflicting_routes(route, *place, other));
                return;
            }
            taken.insert(shape, (&operation.name, route.place));
        }
    }

    /// Notes a method that requests do not have.
    pub(super) fn check_method(&mut self, method: &str, place: Place) {
        if !METHODS.contains(&method) {
            self.note(Problem::unknown_method(place, method, METHODS));
        }
    }

    /// The names of all path parameters.
    pub(super) fn parameters(&self) -> Vec<&'f str> {
        let routes = self.file.operations.iter().flat_map(|operation| &operation.routes);
        let templates = self.file.bases.iter().chain(routes);
        let mut names: Vec<&str> = templates.flat_map(|text| text.split('/')).filter_map(parameter).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn operation(operation: &file::Operation) -> OperationDraft {
    let mut methods = operation.routes.iter().map(|route| route.split_whitespace().next().unwrap_or_default());
    let method = methods.next().filter(|first| *first != "*" && methods.all(|method| method == *first));
    OperationDraft {
        name: operation.name.to_string(),
        class: operation.class.as_deref().map(str::to_owned),
        method: method.map(str::to_owned),
    }
}

/// What is wrong with a part of a path, and what to do.
struct Fault {
    part: Range<usize>,
    label: String,
    help: String,
}

fn fault<T>(part: Range<usize>, label: impl Into<String>, help: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { part, label: label.into(), help: help.into() })
}

fn parameter_free(path: &str) -> bool {
    !path.contains(['{', '}'])
}

fn check_base(base: &str) -> Result<(), Fault> {
    if base.is_empty() {
        return Ok(());
    }
    if base == "/" {
        return fault(0..1, "a slash at the end", "write `\"\"` for routes as they are written");
    }
    if let Some(at) = base.find("...}") {
        return fault(at..at + 3, "a tail takes all the rest", "leave out the `...`");
    }
    check_template(base)
}

fn check_template(template: &str) -> Result<(), Fault> {
    if !template.starts_with('/') {
        let word = template.find('/').unwrap_or(template.len());
        let path =
            template.split_once("://").map_or(template, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
        let help = format!("write `/{}`", path.trim_start_matches('/'));
        return fault(0..word, "expected a path that begins with `/`", help);
    }
    if template == "/" {
        return Ok(());
    }
    if template.ends_with('/') {
        let help = "leave it out: requests with and without it match";
        return fault(template.len() - 1..template.len(), "a slash at the end", help);
    }
    let mut seen: Vec<&str> = Vec::new();
    let mut at = 0;
    let mut tail: Option<Range<usize>> = None;
    for segment in template.split('/').skip(1) {
        at += 1;
        let part = at..at + segment.len();
        at = part.end;
        if let Some(tail) = tail {
            return fault(tail, "takes all the rest, and more follows", "leave out the `...`, or what follows");
        }
        if let Some(name) = parameter(segment) {
            check_parameter(name, part.clone(), &seen)?;
            seen.push(name);
            tail = segment.ends_with("...}").then_some(part);
        } else {
            check_literal(segment, part)?;
        }
    }
    Ok(())
}

fn check_parameter(name: &str, part: Range<usize>, seen: &[&str]) -> Result<(), Fault> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
        let label = "a parameter's name is letters, digits, `_` and `-`";
        return fault(part, label, "name it after what it holds, as `{id}`");
    }
    if seen.contains(&name) {
        return fault(part, format!("`{name}` is a parameter of this route already"), "give it another name");
    }
    Ok(())
}

fn check_literal(segment: &str, part: Range<usize>) -> Result<(), Fault> {
    if segment.is_empty() {
        return fault(part.start - 1..part.end + 1, "an empty segment", "leave out one of the slashes");
    }
    if segment.contains(['{', '}']) {
        let name = segment.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("name", |(name, _)| name);
        let help = format!("write `{{{name}}}`, and tell requests apart by an attribute");
        return fault(part, "a parameter takes a whole segment", help);
    }
    if let Some(name) = segment.strip_prefix(':') {
        return fault(part, "not the form of a parameter", format!("write `{{{name}}}`"));
    }
    if segment == "*" || segment == "**" {
        let help = if segment == "*" { "write `{name}` for one segment" } else { "write `{name...}` for all the rest" };
        return fault(part, "a path has no wildcards", help);
    }
    if let Some(at) = segment.find(['?', '#']) {
        let label = "a route is matched by its path alone";
        return fault(part.start + at..part.end, label, "leave it out; a `query:` source reads parameters");
    }
    Ok(())
}

/// The name of the parameter that a segment is.
fn parameter(segment: &str) -> Option<&str> {
    let inside = segment.strip_prefix('{')?.strip_suffix('}')?;
    Some(inside.strip_suffix("...").unwrap_or(inside))
}

/// A template without what parameters are called, fixed text decoded and folded: two routes of one method and one shape
/// match the same. Control characters stand for tail and parameter, as no path has them.
fn shape(template: &str, case: Case) -> String {
    template.split('/').skip(1).fold(String::new(), |shape, segment| {
        let kind = match parameter(segment) {
            Some(_) if segment.ends_with("...}") => Cow::Borrowed("\u{1}"),
            Some(_) => Cow::Borrowed("\u{2}"),
            None => percent_decode(segment, Plus::IsPlus).map_or(Cow::Borrowed(segment), Cow::Owned),
        };
        shape + "/" + &case.folded(&kind)
    })
}
