//! `POST /v1/check`: one question or a batch, each decided alone, answered in their order.

use tidegate_core::Purpose;
use tidegate_limiter::Clock;

use super::answer;
use super::extract::{Ask, Questions, questions};
use super::respond::Problem;
use crate::Engine;

/// The answer to a body. A batch with a mistake anywhere is refused whole, before anything is charged.
pub(super) fn check<C: Clock>(engine: &Engine<C>, body: &[u8]) -> Result<String, Problem> {
    let mut out = String::with_capacity(1_024);
    let book = engine.book();
    match questions(&book, body)? {
        Questions::One(ask) => decide(engine, &ask, &mut out),
        Questions::Batch(asks) => {
            out.push('[');
            answer::separated(asks.iter(), &mut out, |ask, out| decide(engine, ask, out));
            out.push(']');
        }
    }
    Ok(out)
}

fn decide<C: Clock>(engine: &Engine<C>, ask: &Ask<'_>, out: &mut String) {
    let demand = ask.question.demand().set_purpose(ask.purpose).build();
    debug_assert_ne!(demand.purpose(), Purpose::Hold, "nobody would release what is held");
    let decision = engine.check(&demand);
    let fields = ask.api.dialect.render(&decision);
    answer::write(&decision, &fields, None, out);
}
