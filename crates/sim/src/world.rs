//! A limiter whose clock a trace drives.

use tidegate_core::{Decision, Demand, Policy, UnitId};
use tidegate_limiter::{Clock, Limiter, ManualClock, Memory, MemoryOptions};
use tidegate_policy::{BadRequest, Facts, Intake};

use crate::trace::{Ask, Entry, Request, Response};

/// A policy, an intake, and a limiter in virtual time.
#[derive(Debug)]
pub struct World<'p> {
    policy: &'p Policy,
    intake: &'p Intake,
    limiter: Limiter<ManualClock, ()>,
}

/// What became of a line.
#[derive(Debug)]
pub enum Outcome<'o, 'd> {
    /// It was decided.
    Decided(&'o Decision<'d>),
    /// The request can be understood in more ways than one, or in none; the gateway would answer 400 and count nothing.
    BadRequest {
        /// The part of the request: `path`, `header x-api-key` …
        place: &'o str,
        /// What was expected, and what was found.
        message: &'o str,
    },
}

impl<'p> World<'p> {
    /// A world in which nothing was asked yet.
    pub fn new(policy: &'p Policy, intake: &'p Intake, options: MemoryOptions) -> World<'p> {
        World { policy, intake, limiter: Limiter::new(Memory::new(options), ManualClock::default(), ()) }
    }

    /// Asks what a line asks, at its instant, tells the outcome, and settles the response if there is one.
    ///
    /// Concurrency limits are looked at, not held: a trace does not say when a request ended.
    pub fn ask(&self, entry: &Entry<'_>, tell: impl FnOnce(Outcome<'_, '_>)) {
        self.limiter.clock().set(entry.at);
        match &entry.ask.request {
            None => {
                let demand = entry.ask.question.demand().build();
                self.decide(&demand, entry.response.as_ref(), tell);
            }
            Some(request) => self.ask_request(request, &entry.ask, entry.response.as_ref(), tell),
        }
    }

    fn ask_request(
        &self,
        request: &Request<'_>,
        ask: &Ask<'_>,
        response: Option<&Response>,
        tell: impl FnOnce(Outcome<'_, '_>),
    ) {
        match self.facts(request) {
            Err(bad) => tell(Outcome::BadRequest { place: bad.place(), message: bad.message() }),
            Ok(facts) => match facts.demand(self.policy) {
                Err(bad) => tell(Outcome::BadRequest { place: "request", message: &bad.to_string() }),
                Ok(mut demand) => {
                    ask.question.add_to(&mut demand);
                    self.decide(&demand.build(), response, tell);
                }
            },
        }
    }

    fn facts(&self, request: &Request<'_>) -> Result<Facts, BadRequest> {
        let route = self.intake.route(&request.method, &request.target)?;
        self.intake.extract(self.policy, &route, &request.asked(), self.limiter.clock().now())
    }

    fn decide(&self, demand: &Demand<'_>, response: Option<&Response>, tell: impl FnOnce(Outcome<'_, '_>)) {
        let decision = self.limiter.check(demand);
        tell(Outcome::Decided(&decision));
        if let Some(response) = response {
            let actual: Vec<(UnitId, u64)> =
                self.intake.settled_costs(demand.operation(), &response.headers, response.body.as_ref());
            self.limiter.settle(self.limiter.receipt(&decision), &actual);
        }
    }
}
