//! `POST /v1/check`: one question or a batch, each decided alone, answered in their order.

use http::StatusCode;
use tidegate_limiter::{Clock, Places};

use super::answer::{self, Beside};
use super::extract::{Ask, Questions, questions};
use super::respond::Problem;
use crate::refusals::DecisionId;
use crate::{Engine, Surface};

/// The answer to a body.
pub(super) struct Ruling {
    pub(super) text: String,
    /// By what a single refusal can be asked for.
    pub(super) refusal: Option<DecisionId>,
}

/// The answer to a body. A batch with a mistake anywhere is refused whole, before anything is charged, and so is one whose
/// reservations there is no room for.
pub(super) fn check<C: Clock>(engine: &Engine<C>, body: &[u8]) -> Result<Ruling, Problem> {
    let mut text = String::with_capacity(1_024);
    let mut refusal = None;
    let book = engine.book();
    match questions(&book, body)? {
        Questions::One(ask) => {
            let mut places = places(engine, ask.reserve.iter().len())?;
            refusal = decide(engine, &ask, places.as_mut(), &mut text);
        }
        Questions::Batch(asks) => {
            let mut places = places(engine, asks.iter().filter(|ask| ask.reserve.is_some()).count())?;
            text.push('[');
            answer::separated(asks.iter(), &mut text, |ask, text| {
                decide(engine, ask, places.as_mut(), text);
            });
            text.push(']');
        }
    }
    Ok(Ruling { text, refusal })
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

fn decide<C: Clock>(
    engine: &Engine<C>,
    ask: &Ask<'_>,
    places: Option<&mut Places<'_>>,
    out: &mut String,
) -> Option<DecisionId> {
    let demand = ask.question.demand().set_purpose(ask.purpose).build();
    let (decision, reservation) = match (ask.reserve, places) {
        (Some(expires_in), Some(places)) => engine.reserve(places, &demand, expires_in),
        _ => (engine.check(&demand), None),
    };
    let fields = ask.api.dialect.render(&decision);
    let reservation = reservation.map(|id| id.to_string());
    let beside = Beside { reservation: reservation.as_deref(), ..Beside::default() };
    answer::write(&decision, &fields, beside, out);
    engine.keep_refusal(&decision, Surface::Http)
}
