//! `POST /v1/check`: one question or a batch, each decided alone, answered in their order.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use tidegate_core::{Decision, Demand};
use tidegate_dialect::Fields;
use tidegate_limiter::{Clock, Places};

use super::answer::{self, Beside};
use super::extract::{self, Ask, Questions, questions};
use super::respond::{Problem, json};
use crate::refusals::{DECISION_HEADER, DecisionId};
use crate::{Engine, Surface};

/// Questions of a batch that are decided at a time: as many as the limiter looks ahead. Their demands together take as
/// much memory as a page or three.
const TOGETHER: usize = 32;

/// Bytes that an answer is given at first: enough for four limits. Longer ones grow.
const USUAL_BYTES: usize = 2_048;

/// The answer to a body.
struct Ruling {
    text: String,
    /// By what a single refusal can be asked for.
    refusal: Option<DecisionId>,
}

/// Answers a request.
pub(super) async fn answer<C, B>(engine: &Engine<C>, request: Request<B>) -> Response<String>
where
    C: Clock,
    B: Body<Data = Bytes> + Unpin,
{
    let ruling = match extract::body(request).await {
        Ok(body) => check(engine, &body),
        Err(problem) => Err(problem),
    };
    match ruling {
        Ok(Ruling { text, refusal }) => {
            let mut answer = json(StatusCode::OK, text);
            if let Some(id) = refusal {
                answer.headers_mut().insert(DECISION_HEADER, id.header_value());
            }
            answer
        }
        Err(problem) => problem.answer(),
    }
}

/// The answer to a body. A batch with a mistake anywhere is refused whole, before anything is charged, and so is one whose
/// reservations there is no room for.
fn check<C: Clock>(engine: &Engine<C>, body: &[u8]) -> Result<Ruling, Problem> {
    let book = engine.book();
    let mut writer = Writer { text: String::with_capacity(USUAL_BYTES), fields: Fields::default(), engine };
    let mut refusal = None;
    match questions(&book, body)? {
        Questions::One(ask) => {
            let mut places = places(engine, ask.reserve.iter().len())?;
            refusal = writer.decide(&ask, places.as_mut());
        }
        Questions::Batch(asks) => {
            let mut places = places(engine, asks.iter().filter(|ask| ask.reserve.is_some()).count())?;
            writer.text.push('[');
            match places.as_mut() {
                Some(places) => asks.iter().for_each(|ask| {
                    writer.decide(ask, Some(places));
                    writer.text.push(',');
                }),
                None => writer.decide_together(&asks),
            }
            if writer.text.ends_with(',') {
                writer.text.pop();
            }
            writer.text.push(']');
        }
    }
    Ok(Ruling { text: writer.text, refusal })
}

/// Room for as many reservations as are asked for; none is asked for mostly.
fn places<C: Clock>(engine: &Engine<C>, number: usize) -> Result<Option<Places<'_>>, Problem> {
    if number == 0 {
        return Ok(None);
    }
    let problem = |error: tidegate_limiter::ReserveError| {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).at("reserve");
        problem.help("settle or release what is reserved; nothing was charged")
    };
    engine.limiter.places(number).map(Some).map_err(problem)
}

/// Writes answers one after the other.
struct Writer<'e, C> {
    text: String,
    /// Used again by each.
    fields: Fields,
    engine: &'e Engine<C>,
}

impl<C: Clock> Writer<'_, C> {
    /// Decides a question, and writes and keeps what came of it.
    fn decide(&mut self, ask: &Ask<'_>, places: Option<&mut Places<'_>>) -> Option<DecisionId> {
        let mut builder = ask.question.demand();
        let demand = builder.set_purpose(ask.purpose).finish();
        let (decision, reservation) = match (ask.reserve, places) {
            (Some(expires_in), Some(places)) => self.engine.reserve(places, demand, expires_in),
            _ => (self.engine.check(demand), None),
        };
        let reservation = reservation.map(|id| id.to_string());
        self.write(ask, &decision, reservation.as_deref())
    }

    /// Decides questions that reserve nothing, each as if it were alone, and writes a comma behind each answer.
    fn decide_together(&mut self, asks: &[Ask<'_>]) {
        let engine = self.engine;
        let mut demands: Vec<Demand<'_>> = Vec::with_capacity(TOGETHER.min(asks.len()));
        for asks in asks.chunks(TOGETHER) {
            demands.clear();
            demands.extend(asks.iter().map(|ask| ask.question.demand().set_purpose(ask.purpose).build()));
            let mut asked = asks.iter();
            engine.check_batch(&demands, |decision| {
                if let Some(ask) = asked.next() {
                    self.write(ask, decision, None);
                    self.text.push(',');
                }
            });
        }
    }

    fn write(&mut self, ask: &Ask<'_>, decision: &Decision<'_>, reservation: Option<&str>) -> Option<DecisionId> {
        ask.api.dialect.render_on(&mut self.fields, decision);
        answer::write(decision, &self.fields, Beside { reservation, ..Beside::default() }, &mut self.text);
        self.engine.keep_refusal(decision, Surface::Http)
    }
}
