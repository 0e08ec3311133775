//! What is counted of decisions and answers, and how it is shown to Prometheus.
//!
//! Counting happens on the path of every request, so each thread counts in a shard of its own; a scrape adds them up.
//! What is counted by limit is counted in a series, a number that the limit bears. Limits of the same labels share one,
//! so that what is counted goes on over reloads; a limit that is no longer in force keeps what was counted.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use tidegate_core::{Basis, Decision, Purpose, Span};
use tidegate_limiter::{Clock, Observer};

use crate::Engine;

/// Shards; more than the threads that count at once on most machines. Each has a counter for every limit.
const SHARDS: usize = 16;

/// Series that a shard makes room for at a time.
const CHUNK: usize = 256;

/// Chunks at most: 65,536 series. Only an operator makes new ones, by limits of ever new names; those beyond are counted
/// together in the first, whose labels are empty.
const MAX_CHUNKS: usize = 256;

/// Upper bounds of the latency's buckets in microseconds, the clock's resolution. A decision in memory is far below the
/// first; the last show a machine that stalls.
const LATENCY_BOUNDS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 500, 1_000, 5_000, 10_000, 100_000];

/// Classes of statuses, `1xx` to `5xx`.
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Where an answer was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// Before the upstream.
    Gateway,
    /// On the control port.
    Http,
}

impl Surface {
    const ALL: [Surface; 2] = [Surface::Gateway, Surface::Http];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Surface::Gateway => "gateway",
            Surface::Http => "http",
        }
    }
}

/// All that is counted.
#[derive(Debug)]
pub struct Metrics {
    shards: Box<[Shard]>,
    known: Mutex<Known>,
}

/// The series there are.
#[derive(Debug, Default)]
struct Known {
    labels: Vec<Labels>,
    places: HashMap<Labels, usize>,
}

/// What tells one series from the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Labels {
    policy: Box<str>,
    limit: Box<str>,
    mode: &'static str,
}

/// One thread's counts, alone on their cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    admitted: AtomicU64,
    refused: AtomicU64,
    peeks: AtomicU64,
    store_full: AtomicU64,
    /// How many took at most each bound; the last is those that took longer.
    latency: [AtomicU64; LATENCY_BOUNDS.len() + 1],
    latency_micros: AtomicU64,
    answers: [[AtomicU64; STATUS_CLASSES.len()]; Surface::ALL.len()],
    /// By series: demands that did not fit the limit.
    did_not_fit: Chunks,
    /// By series: admissions that the limit did not count, for want of room.
    open: Chunks,
}

/// Counters by series, made room for chunk by chunk and never moved, so that counting needs no lock.
#[derive(Debug)]
struct Chunks([OnceLock<Box<[AtomicU64]>>; MAX_CHUNKS]);

impl Default for Chunks {
    fn default() -> Chunks {
        Chunks([const { OnceLock::new() }; MAX_CHUNKS])
    }
}

impl Chunks {
    /// Makes room for a series.
    fn open(&self, series: usize) {
        if let Some(chunk) = self.0.get(series / CHUNK) {
            chunk.get_or_init(|| (0..CHUNK).map(|_| AtomicU64::new(0)).collect());
        }
    }

    /// Counts one of a series.
    fn count(&self, series: u32) {
        if let Some(counter) = self.of(series as usize) {
            add(counter, 1);
        }
    }

    /// The counter of a series, if there is room for it.
    fn of(&self, series: usize) -> Option<&AtomicU64> {
        self.0.get(series / CHUNK)?.get()?.get(series % CHUNK)
    }
}

impl Metrics {
    /// The series of a limit by its labels, an old one if there is one.
    pub(crate) fn series(&self, policy: &str, limit: &str, mode: &'static str) -> u32 {
        let labels = Labels { policy: policy.into(), limit: limit.into(), mode };
        let mut known = self.known();
        if let Some(place) = known.places.get(&labels) {
            return u32::try_from(*place).unwrap_or(0);
        }
        let place = known.labels.len();
        if place >= MAX_CHUNKS * CHUNK {
            return 0;
        }
        for shard in &self.shards {
            shard.did_not_fit.open(place);
            shard.open.open(place);
        }
        known.labels.push(labels.clone());
        known.places.insert(labels, place);
        u32::try_from(place).unwrap_or(0)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an answer that went out on a surface.
    pub fn answered(&self, surface: Surface, status: u16) {
        let class = usize::from(status / 100).clamp(1, STATUS_CLASSES.len()) - 1;
        add(&self.shard().answers[surface as usize][class], 1);
    }

    /// Counts how long a decision took.
    pub fn took(&self, span: Span) {
        let micros = span.as_micros();
        let bucket = LATENCY_BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(LATENCY_BOUNDS.len());
        let shard = self.shard();
        add(&shard.latency[bucket], 1);
        add(&shard.latency_micros, micros);
    }

    fn shard(&self) -> &Shard {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static MINE: Cell<usize> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS));
        &self.shards[MINE.get()]
    }

    fn sum(&self, of: impl Fn(&Shard) -> &AtomicU64) -> u64 {
        self.shards.iter().map(|shard| of(shard).load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }
}

impl Default for Metrics {
    /// Metrics of nothing yet, all zero.
    fn default() -> Metrics {
        let metrics = Metrics { shards: (0..SHARDS).map(|_| Shard::default()).collect(), known: Mutex::default() };
        metrics.series("", "", "");
        metrics
    }
}

impl Observer for Metrics {
    fn decided(&self, decision: &Decision<'_>) {
        let shard = self.shard();
        if decision.demand().purpose() == Purpose::Peek {
            return add(&shard.peeks, 1);
        }
        add(if decision.is_admitted() { &shard.admitted } else { &shard.refused }, 1);
        for ruling in decision.rulings() {
            let series = ruling.charge.limit().series();
            if !ruling.status.fits() {
                shard.did_not_fit.count(series);
            }
            if matches!(ruling.basis, Basis::StoreFull | Basis::Open) {
                add(&shard.store_full, 1);
            }
            if ruling.basis == Basis::Open && decision.is_admitted() {
                shard.open.count(series);
            }
        }
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

/// What a scrape of `engine` says, in the OpenMetrics text format.
///
/// # Errors
///
/// A metric cannot be written, which no metric here does.
pub fn exposition<C: Clock + fmt::Debug + Send + Sync + 'static>(
    engine: &Arc<Engine<C>>,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("tidegate");
    registry.register_collector(Box::new(Scrape(Arc::clone(engine))));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Scrape<C>(Arc<Engine<C>>);

impl<C: Clock + fmt::Debug + Send + Sync + 'static> Collector for Scrape<C> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let metrics = self.0.metrics();
        metrics.encode_decisions(&mut encoder)?;
        metrics.encode_latency(&mut encoder)?;
        metrics.encode_answers(&mut encoder)?;
        encode_policies(&self.0, &mut encoder)?;
        let mut gauge = |name, help, value: usize| {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
        };
        gauge("store_counters", "counters in the store", self.0.limiter.store().counters())?;
        gauge("store_counters_max", "counters that the store may hold", self.0.max_counters())?;
        gauge("reservations_open", "reservations that can be settled", self.0.limiter.open_reservations())?;
        let store = self.0.limiter.store();
        let unsettled = "costs that could not be settled, as there was no room for their counters";
        counter(&mut encoder, "store_unsettled", unsettled)?
            .encode_counter::<NoLabelSet, _, u64>(&store.unsettled(), None)?;
        let leaked = "held for ever, as what held it was dropped without being released";
        counter(&mut encoder, "store_leaked", leaked)?.encode_counter::<NoLabelSet, _, u64>(&store.leaked(), None)
    }
}

fn encode_policies<C: Clock>(engine: &Engine<C>, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let help = "the version of a policy that is in force";
    let mut versions = encoder.encode_descriptor("policy_version", help, None, MetricType::Gauge)?;
    for api in engine.book().apis() {
        versions.encode_family(&[("policy", api.policy.name())])?.encode_gauge(&api.policy.version())?;
    }
    let mut reloads = counter(encoder, "policy_reloads", "attempts to change a policy, by what became of them")?;
    for ((policy, result), times) in engine.reloads.counts() {
        count(&mut reloads, &[("policy", policy.as_str()), ("result", result.name())], times)?;
    }
    let help = "1 if the last attempt of every source succeeded, 0 if one failed";
    let mut is_ok = encoder.encode_descriptor("policy_last_reload_ok", help, None, MetricType::Gauge)?;
    is_ok.encode_gauge(&u64::from(engine.reloads.failures().is_empty()))
}

impl Metrics {
    fn encode_decisions(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut decisions = counter(encoder, "decisions", "decisions by verdict, peeks aside")?;
        count(&mut decisions, &[("verdict", "admitted")], self.sum(|shard| &shard.admitted))?;
        count(&mut decisions, &[("verdict", "refused")], self.sum(|shard| &shard.refused))?;
        let help = "demands that did not fit a limit; shadow ones refuse nobody";
        self.encode_by_limit(encoder, "limit_refusals", help, |shard| &shard.did_not_fit)?;
        let help = "admissions that a limit did not count, as the store had no room and its on_store_error is open";
        self.encode_by_limit(encoder, "store_open", help, |shard| &shard.open)?;
        let mut peeks = counter(encoder, "peeks", "questions that charged nothing")?;
        peeks.encode_counter::<NoLabelSet, u64, u64>(&self.sum(|shard| &shard.peeks), None)?;
        let mut full = counter(encoder, "store_full", "counters that the store had no room for")?;
        full.encode_counter::<NoLabelSet, u64, u64>(&self.sum(|shard| &shard.store_full), None)
    }

    /// Writes what is counted by limit.
    fn encode_by_limit(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        of: impl Fn(&Shard) -> &Chunks,
    ) -> Result<(), fmt::Error> {
        let mut family = counter(encoder, name, help)?;
        let series = self.known().labels.clone();
        for (place, Labels { policy, limit, mode }) in series.iter().enumerate() {
            let counts = self.shards.iter().filter_map(|shard| of(shard).of(place));
            let count_of = counts.map(|count| count.load(Ordering::Relaxed)).fold(0, u64::wrapping_add);
            if place > 0 || count_of > 0 {
                let labels = [("policy", &**policy), ("limit", &**limit), ("mode", *mode)];
                count(&mut family, &labels, count_of)?;
            }
        }
        Ok(())
    }

    #[expect(clippy::float_arithmetic, reason = "Prometheus counts seconds; this is its edge")]
    fn encode_latency(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "how long decisions took, measured with the limiter's clock";
        let mut histogram =
            encoder.encode_descriptor("decision_duration", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        let seconds = |micros: u64| micros as f64 / 1e6;
        let bounds = LATENCY_BOUNDS.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
        let counts = (0..=LATENCY_BOUNDS.len()).map(|bucket| self.sum(|shard| &shard.latency[bucket]));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let total = buckets.iter().map(|(_, count)| count).sum();
        let sum = seconds(self.sum(|shard| &shard.latency_micros));
        histogram.encode_histogram::<NoLabelSet>(sum, total, &buckets, None)
    }

    fn encode_answers(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut answers = counter(encoder, "answers", "answers by surface and class of status")?;
        for surface in Surface::ALL {
            for (class, status) in STATUS_CLASSES.iter().enumerate() {
                let labels = [("surface", surface.name()), ("status", *status)];
                count(&mut answers, &labels, self.sum(|shard| &shard.answers[surface as usize][class]))?;
            }
        }
        Ok(())
    }
}

fn counter<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    name: &'e str,
    help: &'e str,
) -> Result<MetricEncoder<'e>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Counter)
}

fn count(encoder: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: u64) -> Result<(), fmt::Error> {
    encoder.encode_family(labels)?.encode_counter::<NoLabelSet, u64, u64>(&value, None)
}
