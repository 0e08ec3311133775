//! What the invented requests have to have met, so that nothing is passed over: each limit refused, used to its last
//! unit, and asked again a microsecond before its retry-after and exactly at it; each of its quotas refused and used up.

use std::collections::{BTreeMap, HashMap};

use super::ledger::Retry;
use super::story::{Again, Case, Limits};

/// In so many requests everything has to be met.
const ENOUGH: u64 = 100_000;

/// How often each limit has to be met in each way.
const LEAST: u64 = 20;

/// What was met of one limit.
#[derive(Clone, Debug, Default)]
struct Seen {
    refused: u64,
    never: u64,
    last_unit: u64,
    early: u64,
    on_time: u64,
    /// By quota: refused, and used to the last unit.
    quotas: BTreeMap<u64, (u64, u64)>,
}

/// What was met of all limits.
#[derive(Debug)]
pub(crate) struct Moods {
    admitted: u64,
    refused: u64,
    limits: BTreeMap<&'static str, Seen>,
    /// The limit that refused a request last: by its trace line without the instant.
    waiting: HashMap<String, &'static str>,
}

impl Moods {
    pub(crate) fn of(limits: Limits) -> Moods {
        let seen =
            |quotas: &[u64]| Seen { quotas: quotas.iter().map(|quota| (*quota, (0, 0))).collect(), ..Seen::default() };
        let limits = limits.iter().map(|(name, quotas)| (*name, seen(quotas))).collect();
        Moods { admitted: 0, refused: 0, limits, waiting: HashMap::new() }
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
            if line.remaining == 0 && line.charged > 0 {
                let seen = self.limit(line.name);
                seen.last_unit += 1;
                seen.quotas.get_mut(&line.quota).expect("a quota that the limit has").1 += 1;
            }
        }
        if case.again == Again::OnTime
            && let Some(name) = self.waiting.remove(question(case))
        {
            self.limit(name).on_time += 1;
        }
    }

    fn see_refused(&mut self, case: &Case) {
        self.refused += 1;
        let line = case.ruling.binding().expect("a limit that refuses");
        let seen = self.limit(line.name);
        seen.refused += 1;
        seen.quotas.get_mut(&line.quota).expect("a quota that the limit has").0 += 1;
        seen.never += u64::from(line.retry == Retry::Never);
        seen.early += u64::from(case.again == Again::Early && line.retry == Retry::After(1));
        self.waiting.insert(question(case).to_owned(), line.name);
    }

    fn limit(&mut self, name: &'static str) -> &mut Seen {
        self.limits.get_mut(name).expect("a limit that the vendor has")
    }

    pub(crate) fn assert_all(&self, vendor: &str, cases: u64) {
        if cases < ENOUGH {
            return;
        }
        let (admitted, refused) = (self.admitted, self.refused);
        assert!(admitted.min(refused) > cases / 20, "{vendor}: {admitted} admitted, {refused} refused");
        for (name, seen) in &self.limits {
            let counts = [seen.refused, seen.last_unit, seen.early, seen.on_time];
            assert!(counts.iter().all(|count| *count >= LEAST), "{vendor}: `{name}` was not tried enough: {seen:?}");
            let is_met = |(refused, used_up): &(u64, u64)| *refused > 0 && *used_up > 0;
            assert!(seen.quotas.values().all(is_met), "{vendor}: a quota of `{name}` was not tried: {seen:?}");
        }
    }
}

/// A trace line without its instant.
fn question(case: &Case) -> &str {
    case.line.split_once(',').map_or("", |(_, question)| question)
}
