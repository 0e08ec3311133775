//! What is counted of decisions and answers, and how it is shown to Prometheus.
//!
//! Counting happens on the path of every request, so each thread counts in a shard of its own; a scrape adds them up.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use tidegate_core::{Basis, Decision, Policy, Purpose, Span};
use tidegate_limiter::{Clock, Observer};

use crate::Engine;

/// Shards; more than the threads that count at once on most machines. Each has a counter for every limit.
const SHARDS: usize = 16;

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

    fn name(self) -> &'static str {
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
    /// Names and modes of the limits, in the order of the policy.
    limits: Box<[(Box<str>, &'static str)]>,
    /// Their places, by identity.
    places: HashMap<u128, usize>,
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
    /// By limit: demands that did not fit it.
    did_not_fit: Box<[AtomicU64]>,
}

impl Metrics {
    /// Metrics of a policy, all zero.
    pub fn of(policy: &Policy) -> Metrics {
        let limits = policy.limits();
        let shard = || Shard { did_not_fit: limits.iter().map(|_| AtomicU64::new(0)).collect(), ..Shard::default() };
        Metrics {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            limits: limits.iter().map(|limit| (limit.name().into(), limit.mode().name())).collect(),
            places: limits.iter().map(tidegate_core::Limit::identity).zip(0..).collect(),
        }
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

impl Observer for Metrics {
    fn decided(&self, decision: &Decision<'_>) {
        let shard = self.shard();
        if decision.demand().purpose() == Purpose::Peek {
            return add(&shard.peeks, 1);
        }
        add(if decision.is_admitted() { &shard.admitted } else { &shard.refused }, 1);
        for ruling in decision.rulings().filter(|ruling| !ruling.status.fits()) {
            if let Some(place) = self.places.get(&ruling.charge.limit().identity()) {
                add(&shard.did_not_fit[*place], 1);
            }
            if ruling.basis == Basis::StoreFull {
                add(&shard.store_full, 1);
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
        let mut gauge = |name, help, value: usize| {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
        };
        gauge("store_counters", "counters in the store", self.0.limiter.store().counters())?;
        gauge("store_counters_max", "counters that the store may hold", self.0.max_counters())
    }
}

impl Metrics {
    fn encode_decisions(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut decisions = counter(encoder, "decisions", "decisions by verdict, peeks aside")?;
        count(&mut decisions, &[("verdict", "admitted")], self.sum(|shard| &shard.admitted))?;
        count(&mut decisions, &[("verdict", "refused")], self.sum(|shard| &shard.refused))?;
        let mut misfits =
            counter(encoder, "limit_refusals", "demands that did not fit a limit; shadow ones refuse nobody")?;
        for (place, (name, mode)) in self.limits.iter().enumerate() {
            let labels = [("limit", &**name), ("mode", *mode)];
            count(&mut misfits, &labels, self.sum(|shard| &shard.did_not_fit[place]))?;
        }
        let mut peeks = counter(encoder, "peeks", "questions that charged nothing")?;
        peeks.encode_counter::<NoLabelSet, u64, u64>(&self.sum(|shard| &shard.peeks), None)?;
        let mut full = counter(encoder, "store_full", "counters that the store had no room for")?;
        full.encode_counter::<NoLabelSet, u64, u64>(&self.sum(|shard| &shard.store_full), None)
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
