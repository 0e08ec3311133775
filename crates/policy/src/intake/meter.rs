//! Costs that a response states, read as its bytes pass: from a JSON body, or from the events of a stream.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use tidegate_core::{UnitId, bounds};

use super::json::{self, Found, Pointer};

/// Most bytes of a JSON body, or of one event, that are kept to look for a cost: an answer of a chat model is a few
/// KiB; a body above this passes on without being looked at.
pub const MAX_METERED_BYTES: usize = 1024 * 1024;

/// A pointer into the response, and the unit that the whole number there is the cost in.
#[derive(Clone, Debug)]
pub(crate) struct Settle {
    pub(crate) unit: UnitId,
    pub(crate) pointer: Pointer,
}

/// A whole, non-negative number as a cost.
pub(crate) fn cost_of(found: Option<Found>) -> Option<u64> {
    match found? {
        Found::Whole(amount) => Some(amount.min(bounds::MAX_AMOUNT)),
        _ => None,
    }
}

/// The whole number in a header that occurs once.
pub(crate) fn header_cost(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    whole(value.to_str().ok()?.trim()).map(|amount| amount.min(bounds::MAX_AMOUNT))
}

/// A whole number in digits alone.
pub(crate) fn whole(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// The costs `stated` already, and the first of each other unit.
pub(crate) fn by_unit(
    stated: Vec<(UnitId, u64)>,
    settles: &[Settle],
    costs: impl Iterator<Item = Option<u64>>,
) -> Vec<(UnitId, u64)> {
    let mut found = stated;
    for (settle, cost) in settles.iter().zip(costs) {
        if let Some(cost) = cost
            && !found.iter().any(|(unit, _)| *unit == settle.unit)
        {
            found.push((settle.unit, cost));
        }
    }
    found
}

/// Why a meter stopped looking, or passed over something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MeterProblem {
    /// The body, or one event of it, is longer than [`MAX_METERED_BYTES`].
    TooLong,
    /// The body is compressed.
    Compressed,
    /// The body is not JSON, or states the cost twice.
    Unreadable,
}

/// Reads costs from the bytes of one response while they pass. How the bytes are cut into pieces makes no difference.
#[derive(Debug)]
pub struct ResponseMeter {
    /// The costs that the headers stated.
    stated: Vec<(UnitId, u64)>,
    settles: Arc<[Settle]>,
    form: Form,
    problem: Option<MeterProblem>,
}

#[derive(Debug)]
enum Form {
    /// One JSON text, kept until the end.
    Json(Vec<u8>),
    /// Server-sent events, of which only the costs are kept.
    Events(Events),
    /// Nothing is looked for any more.
    Ignored,
}

impl ResponseMeter {
    /// A meter for a response with these headers, which stated some costs; `None` if there is nothing to tell or to look
    /// for, as its type is neither JSON nor an event stream.
    pub(crate) fn new(
        stated: Vec<(UnitId, u64)>,
        settles: Arc<[Settle]>,
        headers: &HeaderMap,
    ) -> Option<ResponseMeter> {
        let form = Some(headers).filter(|_| !settles.is_empty()).and_then(|headers| form_of(&settles, headers));
        match form {
            None if stated.is_empty() => None,
            None => Some(ResponseMeter { stated, settles, form: Form::Ignored, problem: None }),
            Some(_) if super::is_compressed(headers) => {
                Some(ResponseMeter { stated, settles, form: Form::Ignored, problem: Some(MeterProblem::Compressed) })
            }
            Some(form) => Some(ResponseMeter { stated, settles, form, problem: None }),
        }
    }

    /// Takes the next bytes of the body.
    pub fn feed(&mut self, bytes: &[u8]) {
        match &mut self.form {
            Form::Json(body) if body.len() + bytes.len() <= MAX_METERED_BYTES => body.extend_from_slice(bytes),
            Form::Json(_) => {
                self.form = Form::Ignored;
                self.problem = Some(MeterProblem::TooLong);
            }
            Form::Events(events) => events.feed(bytes, &self.settles),
            Form::Ignored => {}
        }
    }

    /// Why something was not looked at; `None` if everything so far was.
    pub fn problem(&self) -> Option<MeterProblem> {
        match &self.form {
            Form::Events(events) if events.has_skipped => Some(MeterProblem::TooLong),
            _ => self.problem,
        }
    }

    /// The costs that were found, by unit, once the body is over; of an event stream, the last of each. `None` if there
    /// is none.
    pub fn finish(&mut self) -> Option<Vec<(UnitId, u64)>> {
        let costs = match std::mem::replace(&mut self.form, Form::Ignored) {
            Form::Json(body) => {
                let pointers: Vec<&Pointer> = self.settles.iter().map(|settle| &settle.pointer).collect();
                match json::look_up(&body, &pointers) {
                    Ok(found) => found.into_iter().map(cost_of).collect(),
                    Err(_) => {
                        self.problem = Some(MeterProblem::Unreadable);
                        Vec::new()
                    }
                }
            }
            Form::Events(mut events) => {
                events.end(&self.settles);
                self.problem = events.has_skipped.then_some(MeterProblem::TooLong);
                events.last
            }
            Form::Ignored => Vec::new(),
        };
        let found = by_unit(std::mem::take(&mut self.stated), &self.settles, costs.into_iter());
        (!found.is_empty()).then_some(found)
    }
}

/// How costs are looked for in a body of this type.
fn form_of(settles: &[Settle], headers: &HeaderMap) -> Option<Form> {
    let content_type = headers.get(http::header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = content_type.split(';').next()?.trim().to_ascii_lowercase();
    let is_json = essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    match &*essence {
        _ if is_json => Some(Form::Json(Vec::new())),
        "text/event-stream" => Some(Form::Events(Events::new(settles.len()))),
        _ => None,
    }
}

/// Server-sent events cut into lines and events, whatever their line ends.
///
/// A line of data that is JSON by itself is looked at by itself, so that it does not matter whether a server separates
/// its events by empty lines; other lines are put together until the event ends.
#[derive(Debug)]
struct Events {
    line: Vec<u8>,
    data: Vec<u8>,
    is_after_return: bool,
    is_first_line: bool,
    /// The event is too long: nothing of it is kept until it ends.
    is_skipping: bool,
    /// The line has bytes, though they are not kept.
    has_skipped_line: bool,
    has_skipped: bool,
    /// The last cost found for each pointer.
    last: Vec<Option<u64>>,
}

impl Events {
    fn new(pointers: usize) -> Events {
        Events {
            line: Vec::new(),
            data: Vec::new(),
            is_after_return: false,
            is_first_line: true,
            is_skipping: false,
            has_skipped_line: false,
            has_skipped: false,
            last: vec![None; pointers],
        }
    }

    fn feed(&mut self, mut bytes: &[u8], settles: &[Settle]) {
        while let Some(first) = bytes.first() {
            if std::mem::take(&mut self.is_after_return) && *first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
                self.extend_line(bytes);
                return;
            };
            self.extend_line(&bytes[..end]);
            self.is_after_return = bytes[end] == b'\r';
            self.end_line(settles);
            bytes = &bytes[end + 1..];
        }
    }

    fn end(&mut self, settles: &[Settle]) {
        self.end_line(settles);
        self.end_event(settles);
    }

    fn extend_line(&mut self, bytes: &[u8]) {
        if self.line.len() + self.data.len() + bytes.len() > MAX_METERED_BYTES {
            self.is_skipping = true;
            self.has_skipped = true;
            self.line.clear();
            self.data.clear();
        }
        if self.is_skipping {
            self.has_skipped_line |= !bytes.is_empty();
        } else {
            self.line.extend_from_slice(bytes);
        }
    }

    fn end_line(&mut self, settles: &[Settle]) {
        if std::mem::take(&mut self.has_skipped_line) {
            return;
        }
        let is_first = std::mem::take(&mut self.is_first_line);
        let mut line = std::mem::take(&mut self.line);
        let text: &[u8] = match line.strip_prefix(b"\xEF\xBB\xBF") {
            Some(rest) if is_first => rest,
            _ => &line,
        };
        if text.is_empty() {
            self.end_event(settles);
        } else if let Some(data) = text.strip_prefix(b"data:") {
            self.take_data(data, settles);
        }
        line.clear();
        self.line = line;
    }

    fn take_data(&mut self, data: &[u8], settles: &[Settle]) {
        if self.data.is_empty() && self.look_at(data, settles) {
            return;
        }
        self.data.extend_from_slice(data);
        self.data.push(b'\n');
    }

    fn end_event(&mut self, settles: &[Settle]) {
        self.is_skipping = false;
        let mut data = std::mem::take(&mut self.data);
        self.look_at(&data, settles);
        data.clear();
        self.data = data;
    }

    /// Notes the costs in a JSON text; says whether it is one.
    fn look_at(&mut self, text: &[u8], settles: &[Settle]) -> bool {
        let pointers: Vec<&Pointer> = settles.iter().map(|settle| &settle.pointer).collect();
        let Ok(found) = json::look_up(text, &pointers) else { return false };
        for (last, found) in self.last.iter_mut().zip(found) {
            *last = cost_of(found).or(*last);
        }
        true
    }
}
