//! Must-hold b: the policy changes every 50 ms while clients send through both ports, and every single answer is what a
//! slow, exact model of the version that gave it says: nothing extra admitted, nothing refused that it admits.
//!
//! Two seconds here; `bench/reload/run.sh` runs it for a minute (`TIDEGATE_RELOAD_SECONDS`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_limiter::SystemClock;
use tidegate_server::reload::{Source, Tick};
use tokio::net::TcpStream;

use super::house::{Folder, House};
use crate::gateway::stand::{Answer, Client};

/// Clients, each with a key of its own, whose answers come in order; and all of them share one more.
const CLIENTS: usize = 4;
const CHANGE_EVERY: Duration = Duration::from_millis(50);
const SECOND: u64 = 1_000_000;
/// The sliding window: two seconds of four cells.
const CELL: u64 = SECOND / 2;
const CELLS: u64 = 4;

/// The amounts of a version: of a fixed window of a second, of the sliding one, and of the fixed one that all share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Amounts {
    fixed: u64,
    sliding: u64,
    shared: u64,
}

/// Odd and even versions.
const AMOUNTS: [Amounts; 2] =
    [Amounts { fixed: 40, sliding: 55, shared: 120 }, Amounts { fixed: 25, sliding: 70, shared: 70 }];

fn of_version(version: u64) -> Amounts {
    AMOUNTS[usize::from(version.is_multiple_of(2))]
}

fn policy(version: u64) -> String {
    let Amounts { fixed, sliding, shared } = of_version(version);
    format!(
        r#"name = "own" # {version}
dialect = "./own.dialect.toml"
[attributes]
key   = "header:X-Key"
group = "header:X-Group"
[[limit]]
name  = "fixed"
per   = ["key"]
quota = "{fixed}/s"
[[limit]]
name      = "sliding"
per       = ["key"]
quota     = "{sliding}/2s"
algorithm = "sliding-window"
cells     = {CELLS}
[[limit]]
name  = "shared"
per   = ["group"]
quota = "{shared}/s"
"#
    )
}

/// Says what the model needs: the amounts that were in force and, to the microsecond, when it was decided. The end of a
/// fixed window is a whole second; so the time left until then tells the instant.
const DIALECT: &str = r#"
[[headers]]
of = "fixed"
on = ["admitted", "refused"]
[headers.write]
X-Fixed = "{limit}"
X-End   = "{reset:unix-seconds}"
X-Next  = "{next:decimal-seconds}"
[[headers]]
of = "sliding"
on = ["admitted", "refused"]
[headers.write]
X-Sliding = "{limit}"
[[headers]]
of = "shared"
on = ["admitted", "refused"]
[headers.write]
X-Shared     = "{limit}"
X-Shared-End = "{reset:unix-seconds}"
[refusal]
status = 429
"#;

/// One answer.
#[derive(Debug)]
struct Seen {
    at: u64,
    allowed: bool,
    amounts: Amounts,
    is_shared: bool,
}

fn micros(decimal: &str) -> u64 {
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    whole.parse::<u64>().unwrap() * SECOND + format!("{fraction:0<6}").parse::<u64>().unwrap()
}

/// What the headers of an answer say, whichever port gave it.
fn seen(allowed: bool, header: impl Fn(&str) -> Option<String>) -> Seen {
    let number = |name: &str| header(name).and_then(|value| value.parse().ok());
    let shared: Option<u64> = number("X-Shared");
    let (fixed, sliding) = (number("X-Fixed").unwrap_or_default(), number("X-Sliding").unwrap_or_default());
    let amounts = match shared {
        Some(shared) => *AMOUNTS.iter().find(|amounts| amounts.shared == shared).unwrap(),
        None => Amounts { fixed, sliding, ..*AMOUNTS.iter().find(|amounts| amounts.fixed == fixed).unwrap() },
    };
    assert!(AMOUNTS.contains(&amounts), "limits of two versions in one answer: {amounts:?}");
    let at = match shared {
        // Any instant of the window does: of what all share, only the window is known.
        Some(_) => number("X-Shared-End").unwrap() * SECOND - 1,
        None => number("X-End").unwrap() * SECOND - micros(&header("X-Next").unwrap()),
    };
    Seen { at, allowed, amounts, is_shared: shared.is_some() }
}

fn of_gateway(answer: &Answer) -> Seen {
    assert!(matches!(answer.status, 200 | 429), "a request failed: {}", answer.head);
    seen(answer.status == 200, |name| answer.header(name).map(str::to_owned))
}

fn of_check(answer: &Answer) -> Seen {
    assert_eq!(answer.status, 200, "a question failed: {}", answer.text());
    let ruling = answer.json();
    let seen = seen(ruling["allowed"] == true, |name| Some(ruling["headers"][name].as_str()?.to_owned()));
    assert_eq!(seen.amounts, of_version(ruling["version"].as_u64().unwrap()), "{ruling}");
    let admitted_by = |limit: &Value| limit["retry_after_s"] == 0.0;
    assert_eq!(seen.allowed, ruling["limits"].as_array().unwrap().iter().all(admitted_by), "{ruling}");
    seen
}

/// The log of what was admitted under one key, asked what an exact limiter would say.
#[derive(Default)]
struct Model {
    admitted: Vec<u64>,
    latest: u64,
}

impl Model {
    /// Whether a demand is to be admitted; if it is, it is.
    fn admits(&mut self, at: u64, amounts: Amounts) -> bool {
        assert!(at >= self.latest, "time runs backwards");
        self.latest = at;
        let in_window = self.admitted.iter().filter(|then| **then / SECOND == at / SECOND).count() as u64;
        let oldest = (at / CELL).saturating_sub(CELLS);
        let in_cells = self.admitted.iter().filter(|then| **then / CELL >= oldest).count() as u64;
        let admits = in_window < amounts.fixed && in_cells < amounts.sliding;
        if admits {
            self.admitted.push(at);
        }
        self.admitted.retain(|then| at - then < 10 * SECOND);
        admits
    }
}

/// What came of the demands of one client, each compared with the model.
#[derive(Default)]
struct Tally {
    admitted: u64,
    refused: u64,
    /// Admitted under the key that all share, by second.
    shared: BTreeMap<u64, u64>,
}

/// Sends until it is told to stop, by turns through the gateway and to the control port; of four demands one is of the
/// shared key.
async fn client(number: usize, ports: [std::net::SocketAddr; 2], stop: Arc<AtomicBool>) -> Tally {
    let mut gateway = Client::of(TcpStream::connect(ports[0]).await.unwrap());
    let mut control = Client::of(TcpStream::connect(ports[1]).await.unwrap());
    let (mut model, mut tally) = (Model::default(), Tally::default());
    for turn in 0u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (name, value) = if turn % 8 < 2 { ("group", "all".to_owned()) } else { ("key", format!("k{number}")) };
        let seen = if turn % 2 == 0 {
            gateway.send(format!("GET /x HTTP/1.1\r\nHost: a\r\nX-{name}: {value}\r\n\r\n")).await;
            of_gateway(&gateway.answer().await)
        } else {
            let question = json!({ "attributes": { name: value } }).to_string();
            let head = format!("POST /v1/check HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}", question.len());
            control.send(format!("{head}\r\n\r\n{question}")).await;
            of_check(&control.answer().await)
        };
        if seen.allowed {
            tally.admitted += 1;
        } else {
            tally.refused += 1;
        }
        if seen.is_shared {
            *tally.shared.entry(seen.at / SECOND).or_default() += u64::from(seen.allowed);
        } else {
            assert_eq!(seen.allowed, model.admits(seen.at, seen.amounts), "{seen:?}");
        }
    }
    tally
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_answer_is_what_its_version_says() {
    let seconds = std::env::var("TIDEGATE_RELOAD_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let folder = Folder::new("load");
    folder.write("own.dialect.toml", DIALECT);
    folder.write("own.toml", &policy(1));
    let sources = vec![Source::Path(folder.file("own.toml"))];
    let mut house = House::open(sources, SystemClock::new(), None).await.unwrap();
    let stop = Arc::<AtomicBool>::default();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| tokio::spawn(client(number, [house.gate.address, house.control], Arc::clone(&stop))))
        .collect();
    let mut changes = tokio::time::interval(CHANGE_EVERY);
    changes.tick().await;
    let until = tokio::time::Instant::now() + Duration::from_secs(seconds);
    let mut version = 1;
    while tokio::time::Instant::now() < until {
        changes.tick().await;
        version += 1;
        folder.write("own.toml", &policy(version));
        let (engine, mut sources) = (Arc::clone(&house.engine), house.sources);
        sources = tokio::task::spawn_blocking(move || {
            sources.follow(&engine, Tick::Reload);
            sources
        })
        .await
        .unwrap();
        house.sources = sources;
        assert_eq!(house.version("own"), Some(version));
    }
    stop.store(true, Ordering::Relaxed);
    let mut shared: BTreeMap<u64, u64> = BTreeMap::new();
    let (mut admitted, mut refused) = (0u64, 0u64);
    for client in clients {
        let tally = client.await.unwrap();
        (admitted, refused) = (admitted + tally.admitted, refused + tally.refused);
        for (second, used) in tally.shared {
            *shared.entry(second).or_default() += used;
        }
    }
    let most = AMOUNTS.iter().map(|amounts| amounts.shared).max().unwrap();
    assert!(shared.values().all(|used| *used <= most), "{shared:?}");
    assert!(admitted > 100 * seconds && refused > 100 * seconds, "{admitted} admitted, {refused} refused");
    println!(
        "{seconds} s, {version} versions, {admitted} admitted, {refused} refused, 0 failed, 0 other than the model's"
    );
}
