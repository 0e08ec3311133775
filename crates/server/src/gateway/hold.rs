//! What an admitted request holds until it is over: concurrency, and costs that only its answer states.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::UnitId;
use tidegate_limiter::{Clock, Receipt};
use tidegate_policy::ResponseMeter;
use tokio::time::timeout;

use super::body::Arrival;
use super::wire::UnderWay;
use crate::Engine;

/// How long an answer is read on after the client has left, only to learn its costs. A chat model's answer takes less.
const MAX_METERING: Duration = Duration::from_secs(120);

/// A receipt that is settled, or released, when it is dropped: with the answer's last byte, with the client, or with the
/// tunnel's end, whichever comes (I5, P14).
#[derive(Debug)]
pub(super) struct Hold(Option<Box<Held>>);

#[derive(Debug)]
struct Held {
    lender: Arc<dyn Lender>,
    receipt: Receipt,
    meter: Option<ResponseMeter>,
}

/// To whom what is held goes back: an engine, on whatever clock.
trait Lender: Debug + Send + Sync {
    fn settle(&self, receipt: Receipt, costs: &[(UnitId, u64)]);
    fn release(&self, receipt: Receipt);
}

impl<C: Clock + Debug + Send + Sync> Lender for Engine<C> {
    fn settle(&self, receipt: Receipt, costs: &[(UnitId, u64)]) {
        self.limiter.settle(receipt, costs);
    }

    fn release(&self, receipt: Receipt) {
        self.limiter.release(receipt);
    }
}

impl Hold {
    /// Nothing is held.
    pub(super) fn nothing() -> Hold {
        Hold(None)
    }

    /// Holds what a receipt holds.
    pub(super) fn new<C>(engine: &Arc<Engine<C>>, receipt: Receipt) -> Hold
    where
        C: Clock + Debug + Send + Sync + 'static,
    {
        if receipt.is_empty() {
            return Hold::nothing();
        }
        let lender: Arc<dyn Lender> = Arc::clone(engine) as _;
        // In a box, as few requests hold anything, and all move their answers about.
        Hold(Some(Box::new(Held { lender, receipt, meter: None })))
    }

    /// Looks for costs in an answer with these headers.
    pub(super) fn meter_with(&mut self, meter: Option<ResponseMeter>) {
        if let Some(held) = &mut self.0 {
            held.meter = meter;
        }
    }

    /// Takes the next bytes of the answer.
    pub(super) fn meter(&mut self, bytes: &[u8]) {
        if let Some(meter) = self.0.as_mut().and_then(|held| held.meter.as_mut()) {
            meter.feed(bytes);
        }
    }

    /// Reads an answer to its end whose client has left, if its costs are still to be learned. A caller could otherwise
    /// avoid them by leaving just before they are stated. The request is under way until then, so that leaving makes no
    /// room for more of them.
    pub(super) fn meter_rest(mut self, mut arrival: Arrival, under_way: Option<UnderWay>) {
        if self.0.as_ref().is_none_or(|held| held.meter.is_none()) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let rest = async {
                while let Some(Ok(frame)) = std::future::poll_fn(|context| arrival.poll_frame(context)).await {
                    if let Some(data) = frame.data_ref() {
                        self.meter(data);
                    }
                }
            };
            if timeout(MAX_METERING, rest).await.is_err() {
                tracing::debug!("gave up on an answer's costs");
            }
            drop((self, arrival, under_way));
        });
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Some(held) = self.0.take() else { return };
        let Held { lender, receipt, meter } = *held;
        match meter {
            Some(mut meter) => {
                let costs = meter.finish().unwrap_or_default();
                if let Some(problem) = meter.problem() {
                    tracing::debug!(?problem, "an answer's costs could not be read");
                }
                lender.settle(receipt, &costs);
            }
            None => lender.release(receipt),
        }
    }
}
