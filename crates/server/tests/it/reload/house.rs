//! A server with both its ports, and a folder of policy files that it follows when the test says so.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tidegate_core::Timestamp;
use tidegate_limiter::{Clock, ManualClock, MemoryOptions};
use tidegate_server::reload::{Source, Sources, Tick};
use tidegate_server::{AssembleError, Engine, http};
use tokio::net::{TcpListener, TcpStream};

use crate::gateway::stand::{Answer, Client, Gate};

/// 2024-02-01T08:00:00Z.
pub(crate) const START: Timestamp = Timestamp::from_secs(1_706_774_400);

/// A folder of a test's own. It goes with the test, and stays if the test fails.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let unique = format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(unique);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file as an editor does: whole, in the place of the old one.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let new = self.file(&format!(".{name}.new"));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.file(name)).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.file(name)).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }
}

/// Both ports of one engine.
pub(crate) struct House<C = Arc<ManualClock>> {
    pub(crate) gate: Gate<C>,
    pub(crate) engine: Arc<Engine<C>>,
    pub(crate) control: SocketAddr,
    pub(crate) sources: Sources,
}

impl House {
    /// Serves what is in a folder, at an instant that stays.
    pub(crate) async fn of(folder: &Folder) -> House {
        House::open(vec![Source::Path(folder.path().to_owned())], Arc::new(ManualClock::at(START)), None).await.unwrap()
    }
}

impl<C: Clock + Debug + Send + Sync + 'static> House<C> {
    pub(crate) async fn open(
        sources: Vec<Source>,
        clock: C,
        upstream: Option<SocketAddr>,
    ) -> Result<House<C>, AssembleError> {
        let (sources, apis) = Sources::open(sources)?;
        let engine = Arc::new(Engine::of(apis, MemoryOptions::default(), clock)?);
        let gate = Gate::open_engine(Arc::clone(&engine), upstream, |_| {}).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let control = listener.local_addr().unwrap();
        tokio::spawn(http::serve(listener, Arc::clone(&engine), std::future::pending()));
        Ok(House { gate, engine, control, sources })
    }

    /// Looks at the files until what has changed is settled: twice.
    pub(crate) fn look(&mut self) {
        self.sources.follow(&self.engine, Tick::Look);
        self.sources.follow(&self.engine, Tick::Look);
    }

    pub(crate) fn reload(&mut self) {
        self.sources.follow(&self.engine, Tick::Reload);
    }

    pub(crate) fn version(&self, policy: &str) -> Option<u64> {
        self.engine.book().named(policy).map(|api| api.policy.version())
    }

    /// The answer to one request to the gateway.
    pub(crate) async fn get(&self, host: &str, target: &str, headers: &str) -> Answer {
        let mut client = self.gate.client().await;
        client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n")).await;
        client.answer().await
    }

    /// The answer to one request to the control port.
    pub(crate) async fn ask(&self, method: &str, target: &str, body: &str) -> Answer {
        let mut client = Client::of(TcpStream::connect(self.control).await.unwrap());
        let length = body.len();
        client
            .send(format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"))
            .await;
        client.answer().await
    }

    pub(crate) async fn check(&self, question: &Value) -> Value {
        let answer = self.ask("POST", "/v1/check", &question.to_string()).await;
        assert_eq!(answer.status, 200, "{question}: {}", answer.text());
        answer.json()
    }

    /// A sample of the metrics.
    pub(crate) async fn sample(&self, name: &str) -> Option<String> {
        let scraped = self.ask("GET", "/metrics", "").await;
        let mut lines = scraped.text().lines().filter_map(|line| line.rsplit_once(' '));
        lines.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
    }
}

/// A policy of one limit for all, at `prefix` if there is one.
pub(crate) fn policy(name: &str, amount: u64, prefix: &str) -> String {
    let serve = if prefix.is_empty() { String::new() } else { format!("[serve]\nprefix = \"{prefix}\"\n") };
    format!("name = \"{name}\"\n{serve}[[limit]]\nname = \"all\"\nquota = \"{amount}/h\"\n")
}
