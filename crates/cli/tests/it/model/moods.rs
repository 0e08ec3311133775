//! What the invented requests have to have met, so that no limit is passed over: each refused, each used to its last
//! unit, and each asked again a microsecond before its retry-after and exactly at it.

use std::collections::BTreeMap;

use super::ledger::Retry;
use super::story::{Again, Case};

/// How often each has to be seen in 100,000 requests.
const LEAST: u64 = 20;

/// One limit's counts.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    refused: u64,
    never: u64,
    last_unit: u64,
    early: u64,
    on_time: u64,
}

/// All limits' counts.
#[derive(Debug)]
pub(crate) struct Moods {
    admitted: u64,
    refused: u64,
    limits: BTreeMap<&'static str, Seen>,
    /// The limit that refused a request that is to be asked again: by its line without the instant.
    waiting: BTreeMap<String, &'static str>,
}

impl Moods {
    pub(crate) fn of(limits: &[&'static str]) -> Moods {
        let limits = limits.iter().map(|name| (*name, Seen::default())).collect();
        Moods { admitted: 0, refused: 0, limits, waiting: BTreeMap::new() }
    }

    pub(crate) fn see(&mut self, case: &Case) {
        if case.ruling.allowed {
            self.see_admitted(case);
        } else {
            self.see_refused(case);
        }
    }

    fn see_admitted(&mut self, case: &Case) {
        self.admitted += 1;
        for line in &case.ruling.lines {
            if line.charged > 0 && line.remaining == 0 {
                self.limit(line.name).last_unit += 1;
            }
        }
        let question = question(case).to_owned();
        if case.again == Again::OnTime
            && let Some(name) = self.waiting.remove(&question)
        {
            self.limit(name).on_time += 1;
        }
    }

    fn see_refused(&mut self, case: &Case) {
        self.refused += 1;
        let line = case.ruling.binding().expect("a limit that refuses");
        let (name, retry) = (line.name, line.retry);
        let seen = self.limit(name);
        seen.refused += 1;
        seen.never += u64::from(retry == Retry::Never);
        seen.early += u64::from(case.again == Again::Early && retry == Retry::After(1));
        self.waiting.insert(question(case).to_owned(), name);
    }

    fn limit(&mut self, name: &'static str) -> &mut Seen {
        self.limits.get_mut(name).expect("a limit that the vendor has")
    }

    pub(crate) fn assert_all(&self, vendor: &str, cases: u64) {
        let least = LEAST * cases / 100_000;
        assert!(self.admitted > cases / 10 && self.refused > cases / 10, "{vendor}: too much of one kind: {self:?}");
        for (name, seen) in &self.limits {
            let counts = [seen.refused, seen.last_unit, seen.early, seen.on_time];
            assert!(counts.iter().all(|count| *count >= least), "{vendor}: `{name}` was not tried enough: {seen:?}");
        }
    }

    /// For a look at what a story is about.
    #[allow(dead_code, reason = "debug only")]
    pub(crate) fn table(&self) -> String {
        format!("admitted {} refused {} {:#?}", self.admitted, self.refused, self.limits)
    }
}

/// A trace line without its instant.
fn question(case: &Case) -> &str {
    case.line.split_once(',').map_or("", |(_, question)| question)
}
