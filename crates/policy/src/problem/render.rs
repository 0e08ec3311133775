//! Problems as a compiler prints them.

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet, Title};

use super::{Problem, Problems, Severity};
use crate::reading::Place;

/// Another place is shown in the same excerpt if it is at most so many lines away; else in one of its own.
const NEAR_LINES: usize = 40;

/// Longest excerpt that is shown as whole lines; of a longer one, [`WINDOW_BYTES`] before and after the problem.
const MAX_EXCERPT_BYTES: usize = 8_192;
const WINDOW_BYTES: usize = 60;

/// Every problem, then one line that counts them.
pub(super) fn all(problems: &Problems, color: bool) -> String {
    if problems.is_empty() {
        return String::new();
    }
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for problem in &problems.list {
        out.push_str(&renderer.render(&[group(problems, problem)]));
        out.push_str("\n\n");
    }
    let level = if errors(problems) > 0 { Level::ERROR } else { Level::WARNING };
    out.push_str(&renderer.render(&[Group::with_title(level.primary_title(summary(problems)))]));
    out.push('\n');
    out
}

fn group<'p>(problems: &'p Problems, problem: &'p Problem) -> Group<'p> {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(problem.message.as_str()).id(problem.code);
    let place = Place { start: problem.span.start, end: problem.span.end };
    let excerpt = Excerpt::around(&problems.text, place);
    let group = if excerpt.is_long() {
        let origin = Origin::path(problems.name.as_str()).line(problem.line).char_column(problem.column);
        title.element(origin).element(excerpt.window(problem))
    } else {
        whole_lines(title, problems, problem, excerpt)
    };
    match &problem.help {
        Some(help) => group.element(Level::HELP.message(help.as_str())),
        None => group,
    }
}

/// A problem in the lines that it is on, and what belongs to it in the same excerpt or in one of its own.
fn whole_lines<'p>(
    title: Title<'p>,
    problems: &'p Problems,
    problem: &'p Problem,
    mut excerpt: Excerpt<'p>,
) -> Group<'p> {
    let also = problem.also.as_ref().filter(|(also, _)| !Excerpt::around(&problems.text, *also).is_long());
    let near = also.filter(|(also, _)| excerpt.lines_to(*also) <= NEAR_LINES && !excerpt.widened(*also).is_long());
    if let Some((also, _)) = near {
        excerpt = excerpt.widened(*also);
    }
    let place = Place { start: problem.span.start, end: problem.span.end };
    let mut snippet = excerpt.snippet(problems, AnnotationKind::Primary, place, &problem.label);
    if let Some((also, label)) = near {
        snippet = snippet.annotation(AnnotationKind::Context.span(excerpt.within(*also)).label(label.as_str()));
    }
    let group = title.element(snippet);
    match (also, near) {
        (Some((also, label)), None) => {
            let far = Excerpt::around(&problems.text, *also);
            group.element(far.snippet(problems, AnnotationKind::Context, *also, label))
        }
        _ => group,
    }
}

/// Whole lines of the text.
#[derive(Clone, Copy)]
struct Excerpt<'t> {
    text: &'t str,
    start: usize,
    end: usize,
}

impl<'t> Excerpt<'t> {
    fn around(text: &'t str, place: Place) -> Excerpt<'t> {
        let start = text[..place.start].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[place.end..].find('\n').map_or(text.len(), |newline| place.end + newline);
        Excerpt { text, start, end }
    }

    /// Whether it is too long to be laid out: a line or a string of many thousand characters.
    fn is_long(self) -> bool {
        self.end - self.start > MAX_EXCERPT_BYTES
    }

    /// What is around the beginning of a problem, on its line.
    fn window(self, problem: &'t Problem) -> Snippet<'t, Annotation<'t>> {
        let at = problem.span.start;
        let start = self.text.floor_char_boundary(at.saturating_sub(WINDOW_BYTES)).max(self.start);
        let end = self.text.floor_char_boundary(at + WINDOW_BYTES).min(self.end);
        let end = self.text[at..end].find('\n').map_or(end, |newline| at + newline);
        let span = at - start..problem.span.end.min(end).max(at) - start;
        let label = (!problem.label.is_empty()).then_some(problem.label.as_str());
        Snippet::source(&self.text[start..end])
            .line_start(problem.line)
            .annotation(AnnotationKind::Primary.span(span).label(label))
    }

    fn lines_to(self, place: Place) -> usize {
        let (from, to) = (self.start.min(place.start), self.end.max(place.end));
        self.text[from..to].matches('\n').count()
    }

    fn widened(self, place: Place) -> Excerpt<'t> {
        let other = Excerpt::around(self.text, place);
        Excerpt { text: self.text, start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    fn within(self, place: Place) -> std::ops::Range<usize> {
        place.start - self.start..place.end - self.start
    }

    fn snippet<'p>(
        self,
        problems: &'p Problems,
        kind: AnnotationKind,
        place: Place,
        label: &'p str,
    ) -> Snippet<'p, Annotation<'p>>
    where
        't: 'p,
    {
        let first_line = self.text[..self.start].matches('\n').count() + 1;
        let label = (!label.is_empty()).then_some(label);
        Snippet::source(&self.text[self.start..self.end])
            .line_start(first_line)
            .path(problems.name.as_str())
            .annotation(kind.span(self.within(place)).label(label))
    }
}

fn errors(problems: &Problems) -> usize {
    problems.list.iter().filter(|problem| problem.severity == Severity::Error).count()
}

fn summary(problems: &Problems) -> String {
    let errors = errors(problems);
    let warnings = problems.list.len() - errors;
    let counted = |count: usize, noun: &str| match count {
        0 => None,
        1 => Some(format!("1 {noun}")),
        _ => Some(format!("{count} {noun}s")),
    };
    let parts: Vec<String> = [counted(errors, "error"), counted(warnings, "warning")].into_iter().flatten().collect();
    let more = if problems.omitted > 0 { format!("; {} more are not shown", problems.omitted) } else { String::new() };
    format!("{}: {}{more}", problems.name, parts.join(", "))
}

/// Line and column, both from 1, the column in characters.
pub(super) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The text with the values of all keys called `secret` blotted out, byte for byte. Found by their looks, so that it
/// also works where the text is no TOML.
pub(crate) fn masked(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.find("secret") {
        let (before, after) = rest.split_at(found + "secret".len());
        masked.push_str(before);
        rest = match value_start(after) {
            Some(start) => {
                masked.push_str(&after[..start]);
                let value = &after[start..start + value_length(&after[start..])];
                masked.extend(value.bytes().map(|byte| if byte == b'\n' { '\n' } else { '*' }));
                &after[start + value.len()..]
            }
            None => after,
        };
    }
    masked.push_str(rest);
    masked
}

/// Where the value of the key that ends before `after` begins, if an equals sign follows.
fn value_start(after: &str) -> Option<usize> {
    let value = after.trim_start_matches(['"', '\'', ' ', '\t']).strip_prefix('=')?;
    Some(after.len() - value.trim_start_matches([' ', '\t']).len())
}

/// The length of the value that `text` begins with: to its closing quote, or to the end of the line.
fn value_length(text: &str) -> usize {
    let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| text.starts_with(*quote));
    let Some(quote) = quote else { return text.find([',', '}', '\n']).unwrap_or(text.len()) };
    let inside = &text[quote.len()..];
    let end = match quote.len() {
        1 => inside.find(['\n']).unwrap_or(inside.len()),
        _ => inside.len(),
    };
    let closing = inside[..end].match_indices(quote).map(|(at, _)| at).find(|at| !inside[..*at].ends_with('\\'));
    quote.len() + closing.map_or(end, |at| at + quote.len())
}
