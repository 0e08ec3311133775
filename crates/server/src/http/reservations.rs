//! `POST /v1/settle` and `POST /v1/release`: what becomes of reservations, one or a batch.

use std::borrow::Cow;

use http::StatusCode;
use tidegate_limiter::{Clock, ReservationId, SettleError};
use tidegate_policy::question::{BadQuestion, Json, instead};

use super::answer;
use super::bounds::MAX_BATCH;
use super::respond::Problem;
use crate::Engine;

/// What is to become of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The truth takes the place of the estimate.
    Settled,
    /// All is given back.
    Released,
}

/// One reservation and its costs.
struct Ask<'q> {
    /// As it was written.
    id: Cow<'q, str>,
    costs: Vec<(Cow<'q, str>, u64)>,
}

/// The answer to a body. A batch with a mistake anywhere is refused whole; of a batch without, each is settled alone.
pub(super) fn close<C: Clock>(engine: &Engine<C>, fate: Fate, body: &[u8]) -> Result<String, Problem> {
    let json = Json::parse(body)?;
    let mut out = String::new();
    if !json.is_array() {
        let ask = ask(fate, json)?;
        one(engine, fate, &ask)?;
        said(fate, &ask, &mut out);
        return Ok(out);
    }
    let mut asks = Vec::new();
    for (index, item) in json.items(MAX_BATCH)?.into_iter().enumerate() {
        asks.push(ask(fate, item).map_err(|bad| bad.inside_item(index))?);
    }
    out.push('[');
    answer::separated(asks.iter(), &mut out, |ask, out| match one(engine, fate, ask) {
        Ok(()) => said(fate, ask, out),
        Err(problem) => out.push_str(&problem.text()),
    });
    out.push(']');
    Ok(out)
}

fn ask<'q>(fate: Fate, json: Json<'q>) -> Result<Ask<'q>, BadQuestion> {
    let (id, cost) = match fate {
        Fate::Settled => {
            let [id, cost] = json.known_members(["reservation", "cost"])?;
            (id, cost)
        }
        Fate::Released => {
            let [id] = json.known_members(["reservation"])?;
            (id, None)
        }
    };
    let missing = || BadQuestion::new("missing").help("give the id that `/v1/check` answered").inside("reservation");
    let id = id.ok_or_else(missing)?.string().map_err(|bad| bad.inside("reservation"))?;
    let mut costs: Vec<(Cow<'q, str>, u64)> = Vec::new();
    for (name, amount) in cost.map_or_else(|| Ok(Vec::new()), Json::members).map_err(|bad| bad.inside("cost"))? {
        let place = |bad: BadQuestion| bad.inside(&name).inside("cost");
        if costs.iter().any(|(known, _)| *known == name) {
            return Err(place(BadQuestion::new("is given twice").help("leave one of the two out")));
        }
        let amount = amount.amount().map_err(place)?;
        costs.push((name, amount));
    }
    Ok(Ask { id, costs })
}

fn one<C: Clock>(engine: &Engine<C>, fate: Fate, ask: &Ask<'_>) -> Result<(), Problem> {
    let unknown = || {
        let problem = Problem::new(StatusCode::NOT_FOUND, "no such reservation is open").at("reservation");
        problem.help("it was settled, released or has expired, or never was")
    };
    let id: ReservationId = ask.id.parse().map_err(|_| unknown())?;
    let costs: Vec<(&str, u64)> = ask.costs.iter().map(|(name, amount)| (&**name, *amount)).collect();
    let done = match fate {
        Fate::Settled => engine.limiter.settle_reservation(id, &costs),
        Fate::Released => engine.limiter.release_reservation(id),
    };
    done.map_err(|error| match error {
        SettleError::UnknownUnit { name, known } => {
            let bad = BadQuestion::new("unknown unit").help(instead(&name, known.iter().map(String::as_str)));
            bad.inside(&name).inside("cost").into()
        }
        _ => unknown(),
    })
}

fn said(fate: Fate, ask: &Ask<'_>, out: &mut String) {
    out.push('{');
    answer::member("reservation", &ask.id, out);
    out.push_str(match fate {
        Fate::Settled => ",\"settled\":true}",
        Fate::Released => ",\"released\":true}",
    });
}
