//! The stages of a gateway's life, and how its connections learn of them.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// A stage, in the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Requests are served.
    Open,
    /// What is under way is finished; nothing new begins.
    Drain,
    /// What is not finished ends all the same.
    Cut,
}

/// Announces stages.
#[derive(Debug)]
pub(super) struct Stages(watch::Sender<Stage>);

/// Learns of stages. As long as one lives, something is under way.
#[derive(Clone, Debug)]
pub(super) struct StageReader(watch::Receiver<Stage>);

impl Stages {
    pub(super) fn new() -> (Stages, StageReader) {
        let (sender, receiver) = watch::channel(Stage::Open);
        (Stages(sender), StageReader(receiver))
    }

    /// Announces a stage and waits until nothing is under way, at most for `limit`. Whether it came to that.
    pub(super) async fn announce(&self, stage: Stage, limit: Duration) -> bool {
        let _ = self.0.send(stage);
        timeout(limit, self.0.closed()).await.is_ok()
    }
}

impl StageReader {
    /// Waits until `stage` has come.
    pub(super) async fn reached(&mut self, stage: Stage) {
        // The sender goes away only with the gateway itself, after the last stage.
        let _ = self.0.wait_for(|now| *now >= stage).await;
    }
}
