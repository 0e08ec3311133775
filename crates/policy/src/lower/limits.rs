//! Limits: when they apply, what they count by, how.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::{Algorithm, Cost, LimitDraft, Mode, OnStoreError, QuotaTree, bounds};

use super::Lowering;
use super::names::each_once;
use super::zones::{self, Zone};
use crate::file;
use crate::problem::Problem;
use crate::reading::{Place, Text};

const ALGORITHMS: &[&str] = &["fixed-window", "sliding-window", "token-bucket", "concurrency"];
const ALIGNS: &[&str] = &["clock", "first-request"];
const STORE_ERROR_RULES: &[&str] = &["closed", "open"];
const MODES: &[&str] = &["enforce", "shadow", "off"];

/// Cells of a sliding window that does not say: at least ten elevenths of the quota can be used in any window.
const DEFAULT_CELLS: u16 = 10;

/// Most quotas of a policy, every case counted once for each operation that it is for: each takes some forty bytes when
/// the policy is frozen. The largest shipped policy has eight hundred.
const MAX_CHOICES: usize = 2_000_000;

/// What a limit's file part means for its quota.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counting {
    pub(super) algorithm: Algorithm,
    /// Whether `algorithm` is what the file says, and not a stand-in for something unknown.
    pub(super) is_known: bool,
    /// Where its windows begin.
    pub(super) begins: Begins,
    /// Whether it counts distinct values.
    pub(super) is_distinct: bool,
}

/// Where the windows of a limit begin.
#[derive(Clone, Copy, Debug)]
pub(super) enum Begins {
    /// By the clock; days and months in the file's zone.
    Clock(Zone),
    /// With the first request.
    First,
    /// At midnight or on the 1st in a zone that the limit names.
    In(Zone),
}

impl<'f> Lowering<'f> {
    /// All limits that are not off.
    pub(super) fn limits(&mut self) -> Vec<LimitDraft> {
        let limits = self.file.limits.iter();
        let drafts = limits.filter_map(|limit| self.limit(limit)).collect::<Vec<_>>();
        self.count_charges(&drafts);
        self.count_choices(&drafts);
        drafts
    }

    fn limit(&mut self, limit: &file::Limit) -> Option<LimitDraft> {
        let counting = self.counting(limit);
        let unit = self.unit(limit);
        let cost = self.cost(unit, counting.algorithm, limit);
        let mode = self.mode(limit);
        self.lenient_without(limit);
        let draft = LimitDraft {
            name: limit.name.as_deref().unwrap_or_default().to_owned(),
            on: limit.on.as_ref().map(|on| self.on(on)),
            per: self.per(limit),
            distinct: self.distinct(limit, counting),
            unit: unit.to_owned(),
            cost,
            quota: self.quota(limit, counting).unwrap_or(QuotaTree::Unlimited),
            algorithm: counting.algorithm,
            mode: mode.unwrap_or_default(),
            count_refused: self.count_refused(limit, counting),
            on_store_error: self.on_store_error(limit),
            when: self.conditions(&limit.when),
            unless: self.conditions(&limit.unless),
            exempt_created_before: limit.created_before,
        };
        mode.map(|_| draft)
    }

    /// How a limit counts.
    pub(super) fn counting(&mut self, limit: &file::Limit) -> Counting {
        let name = limit.algorithm.as_ref();
        let cells = limit.cells.and_then(|(_, cells)| cells).unwrap_or(DEFAULT_CELLS);
        let algorithm = match name.map(|name| &**name) {
            None | Some("fixed-window") => Some(Algorithm::FixedWindow),
            Some("sliding-window") => Some(Algorithm::SlidingWindow { cells }),
            Some("token-bucket") => Some(Algorithm::TokenBucket),
            Some("concurrency") => Some(Algorithm::Concurrency),
            Some(_) => None,
        };
        if let (None, Some(name)) = (algorithm, name) {
            self.note(Problem::unknown_choice(name.place, name, "algorithm", ALGORITHMS));
        }
        let is_sliding = matches!(algorithm, None | Some(Algorithm::SlidingWindow { .. }));
        if let Some((place, _)) = limit.cells.filter(|(_, cells)| cells.is_some() && !is_sliding) {
            let help = "leave it out, or choose `algorithm = \"sliding-window\"`";
            self.note(Problem::bad_cells(place, "only a sliding window has cells", help));
        }
        let begins = self.begins(limit, algorithm);
        Counting {
            algorithm: algorithm.unwrap_or(Algorithm::FixedWindow),
            is_known: algorithm.is_some(),
            begins,
            is_distinct: limit.distinct.is_some(),
        }
    }

    fn begins(&mut self, limit: &file::Limit, algorithm: Option<Algorithm>) -> Begins {
        let is_fixed = matches!(algorithm, None | Some(Algorithm::FixedWindow));
        let file_zone = self.file.zone.as_ref().and_then(|name| Zone::named(name)).unwrap_or_else(Zone::utc);
        if let Some(align) = limit.align.as_ref().filter(|align| !ALIGNS.contains(&&***align)) {
            self.note(Problem::unknown_choice(align.place, align, "alignment", ALIGNS));
        }
        let zone = limit.zone.as_ref().and_then(|name| self.zone(name));
        let (first, zoned) = (limit.align.as_ref().filter(|align| &***align == "first-request"), limit.zone.as_ref());
        if let Some(key) = limit.align.as_ref().or(zoned).filter(|_| !is_fixed) {
            let help = "leave it out, or choose `algorithm = \"fixed-window\"`";
            self.note(Problem::misaligned(key.place, "only fixed windows begin somewhere", help));
        } else if let (Some(_), Some(zone)) = (first, zoned) {
            let help = "keep `align` or `zone`";
            self.note(Problem::misaligned(zone.place, "windows that begin with a request know no midnight", help));
        }
        match (first, zone) {
            (Some(_), _) => Begins::First,
            (None, Some(zone)) => Begins::In(zone),
            (None, None) => Begins::Clock(file_zone),
        }
    }

    /// The time zone of a name.
    pub(super) fn zone(&mut self, name: &Text) -> Option<Zone> {
        let zone = Zone::named(name);
        if zone.is_none() {
            self.note(Problem::unknown_zone(name, &zones::names()));
        }
        zone
    }

    /// Enforced or shadow; `None` for off.
    fn mode(&mut self, limit: &file::Limit) -> Option<Mode> {
        let Some(mode) = &limit.mode else { return Some(Mode::Enforce) };
        match &**mode {
            "enforce" => Some(Mode::Enforce),
            "shadow" => Some(Mode::Shadow),
            "off" => None,
            _ => {
                self.note(Problem::unknown_choice(mode.place, mode, "mode", MODES));
                Some(Mode::Enforce)
            }
        }
    }

    /// Whether refused attempts count.
    fn count_refused(&mut self, limit: &file::Limit, counting: Counting) -> bool {
        let place = limit.count_refused.filter(|(_, is_wanted)| *is_wanted).map(|(place, _)| place);
        match place {
            Some(place) if counting.algorithm == Algorithm::Concurrency => {
                self.note(Problem::held_refusals(place));
                false
            }
            place => place.is_some(),
        }
    }

    /// What happens where the store has no room: what the limit says, else what the file says.
    pub(super) fn on_store_error(&mut self, limit: &file::Limit) -> OnStoreError {
        let own = limit.on_store_error.as_ref().map(|text| self.store_error_rule(text));
        // The file's own word is checked once, not with each limit.
        let of_file = || match self.file.on_store_error.as_deref() {
            Some("open") => OnStoreError::Open,
            _ => OnStoreError::Closed,
        };
        own.unwrap_or_else(of_file)
    }

    /// The rule of a word; closed if it is none (I28).
    pub(super) fn store_error_rule(&mut self, text: &Text) -> OnStoreError {
        match &**text {
            "closed" => {}
            "open" => return OnStoreError::Open,
            "local" => self.note(Problem::no_local_share(text.place)),
            _ => self.note(Problem::unknown_choice(text.place, text, "store error rule", STORE_ERROR_RULES)),
        }
        OnStoreError::Closed
    }

    fn unit(&mut self, limit: &file::Limit) -> &'f str {
        let known = limit.unit.as_deref().map(|unit| self.names.units.iter().copied().find(|known| *known == unit));
        match (known, &limit.unit) {
            (Some(Some(known)), _) => known,
            (Some(None), Some(unit)) => {
                self.note(Problem::unknown_unit(unit, &self.names.units));
                "requests"
            }
            _ => "requests",
        }
    }

    /// The operations that `on` means, each once.
    pub(super) fn on(&mut self, on: &[Text]) -> Vec<String> {
        each_once(on, "on", &mut self.problems);
        let mut operations = BTreeSet::new();
        for name in on {
            match self.names.operations_called(name) {
                Some(called) => operations.extend(called),
                None => {
                    let known = self.suggest(self.names.operations.keys().chain(self.names.classes.keys()));
                    self.note(Problem::unknown_operation(name, &known));
                }
            }
        }
        operations.into_iter().map(str::to_owned).collect()
    }

    /// An attribute to count by, and whether it is optional.
    fn counted<'t>(&mut self, item: &'t Text) -> Option<(&'t str, bool)> {
        let (name, optional) = match item.strip_suffix('?') {
            Some(name) => (name, true),
            None => (&**item, false),
        };
        if !self.names.attributes.contains(&name) {
            let place = item.part(0..name.len());
            self.note(Problem::unknown_attribute(name, place, &self.names.attributes));
            return None;
        }
        Some((name, optional))
    }

    /// The attribute whose distinct values are counted, and whether it is optional.
    fn distinct(&mut self, limit: &file::Limit, counting: Counting) -> Option<(String, bool)> {
        let item = limit.distinct.as_ref()?;
        if counting.algorithm != Algorithm::FixedWindow {
            let label = format!("`{}` cannot tell which values it has counted", counting.algorithm.name());
            let help = "leave `algorithm` out to count them in fixed windows, or leave `distinct` out";
            self.note(Problem::bad_distinct(item.place, &label, help));
        }
        if let Some(unit) = &limit.unit {
            let help = "leave `unit` out, or make two limits of it";
            let label = "distinct values are what it counts, whatever requests cost";
            self.note(Problem::bad_distinct(unit.place, label, help));
        }
        let (name, optional) = self.counted(item)?;
        if limit.per.iter().any(|per| per.strip_suffix('?').unwrap_or(per) == name) {
            let label = "also in `per`: each counter would meet one value";
            self.note(Problem::bad_distinct(item.place, label, "leave it out of `per`, or leave `distinct` out"));
        }
        Some((name.to_owned(), optional))
    }

    fn per(&mut self, limit: &file::Limit) -> Vec<(String, bool)> {
        let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
        let mut per = Vec::new();
        for item in &limit.per {
            let Some((name, optional)) = self.counted(item) else { continue };
            match seen.get(name) {
                Some(first) => self.note(Problem::repeated(item, "per", *first)),
                None => {
                    seen.insert(name, item.place);
                    per.push((name.to_owned(), optional));
                }
            }
        }
        per
    }

    /// Checks the attributes whose absence is meant.
    fn lenient_without(&mut self, limit: &file::Limit) {
        each_once(&limit.lenient_without, "lenient_without", &mut self.problems);
        for name in &limit.lenient_without {
            if !self.names.attributes.contains(&&**name) {
                self.note(Problem::unknown_attribute(name, name.place, &self.names.attributes));
            }
        }
    }

    fn conditions(&mut self, conditions: &[(Text, Vec<Text>)]) -> Vec<(String, Vec<String>)> {
        let mut lowered = Vec::new();
        for (attribute, values) in conditions {
            each_once(values, attribute, &mut self.problems);
            if !self.names.attributes.contains(&&**attribute) {
                self.note(Problem::unknown_attribute(attribute, attribute.place, &self.names.attributes));
                continue;
            }
            for value in values {
                self.check_value(attribute, value);
            }
            lowered.push((attribute.to_string(), values.iter().map(|value| value.to_string()).collect()));
        }
        lowered
    }

    /// Notes a limit by which some operation meets more limits than one request can be charged for.
    fn count_charges(&mut self, drafts: &[LimitDraft]) {
        let on_all = drafts.iter().filter(|draft| draft.on.is_none()).count();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for operation in drafts.iter().filter_map(|draft| draft.on.as_ref()).flatten() {
            *counts.entry(operation).or_default() += 1;
        }
        let named = counts.into_iter().max_by_key(|(_, count)| *count);
        let (operation, count) = named.unwrap_or((self.names.default_operation, 0));
        let found = on_all + count;
        if found > bounds::MAX_CHARGES {
            let last =
                drafts.iter().rposition(|draft| draft.on.as_ref().is_none_or(|on| on.iter().any(|it| it == operation)));
            let last = last.and_then(|index| self.file.limits.iter().filter(|it| !is_off(it)).nth(index));
            let place = last.map_or(Place::at(0), |limit| limit.place);
            self.note(Problem::too_many_charges(place, operation, found, bounds::MAX_CHARGES));
        }
    }

    /// Notes that the quotas, each counted for every operation that it is for, are too many to be kept apart.
    fn count_choices(&mut self, drafts: &[LimitDraft]) {
        let mut overrides: BTreeMap<&str, usize> = BTreeMap::new();
        let records = self.file.records.iter().flat_map(|records| &records.list).flat_map(|record| &record.limits);
        for (limit, quota) in records {
            *overrides.entry(limit).or_default() += quota.as_ref().map_or(0, file::Quota::leaves);
        }
        let mut found = 0;
        for draft in drafts {
            let leaves = match &draft.quota {
                QuotaTree::Derived { of, .. } => {
                    let own = self.names.limits.get(of.as_str()).and_then(|limit| limit.quota.as_ref());
                    own.map_or(0, file::Quota::leaves) + overrides.get(of.as_str()).copied().unwrap_or(0)
                }
                _ => self
                    .names
                    .limits
                    .get(draft.name.as_str())
                    .and_then(|limit| limit.quota.as_ref())
                    .map_or(1, file::Quota::leaves),
            };
            found += leaves * draft.on.as_ref().map_or(self.names.operations.len(), Vec::len);
        }
        if let Some(last) = self.file.limits.last().filter(|_| found > MAX_CHOICES) {
            let kind = "quotas, those of every operation counted apart,";
            self.note(Problem::too_many(last.place, kind, MAX_CHOICES, found));
        }
    }

    /// What a demand costs a limit of this unit when it does not say so.
    fn cost(&mut self, unit: &str, algorithm: Algorithm, limit: &file::Limit) -> Cost {
        let settled = self.file.units.iter().any(|known| *known.name == *unit && known.settle.is_some());
        if !settled {
            return Cost::One;
        }
        if algorithm == Algorithm::Concurrency {
            let place = limit.unit.as_ref().map_or(limit.place, |unit| unit.place);
            let label = "known only when the answer is, and then nothing is held any more";
            let help = "count another unit, or choose another algorithm";
            self.note(Problem::unsettled(place, "concurrency cannot count a settled unit", label, help));
        }
        Cost::Settled
    }
}

/// Whether a limit is switched off.
pub(super) fn is_off(limit: &file::Limit) -> bool {
    limit.mode.as_deref() == Some("off")
}
