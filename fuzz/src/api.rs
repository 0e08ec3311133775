//! The APIs that requests are put to: the five shipped ones, and one that reads everything that can be read.

use std::sync::LazyLock;

use tidegate_core::Timestamp;
use tidegate_policy::{Lowered, Source, lower, lower_with};

/// 2024-02-01T00:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_706_745_600);

/// The secret of the app `known` of [`READER`].
pub(crate) const SECRET: &str = "not so secret";

const READER: &str = r#"
name  = "reader"
bases = ["", "/v3"]

[attributes]
key    = ["header:X-Key", "bearer", "query:key"]
app    = ["host:{value}.api.example.com", "query:app", "body:/app"]
user   = ["jwt:sub", "path:user", "body:/users/0/id"]
rest   = "path:rest"
kind   = [{ from = ["header:User-Agent", "query:client"], map = [["*android*", "android"], ["ios*", "ios"]] }, "constant:web"]
region = "host:eu-*.{value}.example.org"
plan   = ["jwt:plan", "header:X-Plan"]

[jwt]
from = ["header:Authorization", "query:token"]

[operations]
send  = { routes = ["POST /send/{user}/{rest...}"], class = "write" }
get   = { routes = ["GET /send/{user}", "GET /users/me", "* /any/{x}"] }
batch = { routes = "POST /batch" }
chat  = { routes = "POST /chat" }

[units.messages]
cost = { on = ["batch"], length_of = "body:/messages" }

[units.tokens]
settle = "response:/usage/total"

[units.words]
settle = "response:/usage/0/words"

[[limit]]
name  = "all"
per   = ["key?", "app?", "user?", "rest?", "kind", "region?", "plan?"]
quota = "10/s"

[[limit]]
name  = "messages"
on    = "batch"
unit  = "messages"
quota = { by = "plan", default = "10/min", pro = "100/min" }

[[limit]]
name  = "tokens"
on    = "chat"
unit  = "tokens"
quota = "1000/h"

[[limit]]
name      = "words"
on        = "chat"
unit      = "words"
quota     = "1000/h"
algorithm = "sliding-window"

[apps.known]
secret = "not so secret"
plan   = "pro"
"#;

/// Keys of every kind: what the tests sign by, public halves alone, and a secret.
const KEYS: &str = include_str!("../../crates/policy/tests/data/keys/keys.json");

/// An API whose users are named by tokens that those keys verify.
const KEYED: &str = r#"
name = "keyed"

[attributes]
user = "jwt:sub"

[jwt]
from     = "header:Authorization"
jwks     = "./keys.json"
issuer   = ["https://id.example", "https://old.example"]
audience = "chat"
leeway   = "30s"

[[limit]]
name  = "all"
per   = ["user"]
quota = "10/s"
"#;

static BY_KEYS: LazyLock<Lowered> = LazyLock::new(|| {
    let source = Source { name: "keyed", text: KEYED };
    lower_with(&source, 1, &|_| Ok(KEYS.to_owned())).unwrap_or_else(|problems| panic!("keyed: {problems}"))
});

/// The API whose tokens are verified by keys.
pub(crate) fn keyed() -> &'static Lowered {
    &BY_KEYS
}

const SHIPPED: [(&str, &str); 5] = [
    ("cometchat", include_str!("../../vendors/cometchat/policy.toml")),
    ("qstash", include_str!("../../vendors/qstash/policy.toml")),
    ("sendbird", include_str!("../../vendors/sendbird/policy.toml")),
    ("stream", include_str!("../../vendors/stream/policy.toml")),
    ("whatsapp", include_str!("../../vendors/whatsapp/policy.toml")),
];

static ALL: LazyLock<Vec<Lowered>> = LazyLock::new(|| {
    let all = [("reader", READER)].into_iter().chain(SHIPPED);
    all.map(|(name, text)| lower(&Source { name, text }, 1).unwrap_or_else(|problems| panic!("{name}: {problems}")))
        .collect()
});

/// The API that reads everything.
pub(crate) fn reader() -> &'static Lowered {
    &ALL[0]
}

/// The API that the first byte chooses, a digit in what is written by hand, and the bytes after it.
pub(crate) fn chosen(data: &[u8]) -> Option<(&'static Lowered, &[u8])> {
    let (first, rest) = data.split_first()?;
    Some((&ALL[usize::from(first.wrapping_sub(b'0')) % ALL.len()], rest))
}

/// A line, and what is after its end.
pub(crate) fn line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[]),
    }
}
