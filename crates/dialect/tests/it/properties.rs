//! What holds for every dialect, every decision and every text that a stranger sends.

use std::sync::OnceLock;

use proptest::collection::vec;
use proptest::prelude::*;
use tidegate_core::{
    Algorithm, AttributeId, Decision, Demand, LimitDraft, Mode, Policy, Quota, QuotaTree, Span, Status, Timestamp,
    Wait, bounds,
};
use tidegate_dialect::{Dialect, Fields};

use crate::build::{decision, draft_of, policy, set_all};
use crate::shipped::{dialect, vendors};

/// Names that some shipped dialect or the dialect below speaks of, and one that none does.
const NAMES: [&str; 8] =
    ["general", "user-minute", "data-import", "daily", "burst", "chat-requests", "chat-tokens", "mark-as-read"];

/// A dialect that writes what strangers send wherever it can be written.
const ECHO: &str = r#"
[[headers]]
of = "every"
on = ["admitted", "refused"]
[headers.write]
X-User   = "user {attribute.user}"
X-Key    = "{attribute.key}"
X-Word   = "{word.odd}"
[headers.list.X-List]
item       = "{attribute.user}"
parameters = { n = "{name}", k = "{attribute.key}", r = "{remaining}", d = "{reset:decimal-seconds}" }

[words.odd]
default = "line\r\nbreak \u0000 \u007f é"

[refusal]
status       = 429
content_type = "application/json"
body         = '{"user":"{attribute.user}","key":"{attribute.key}","word":"{word.odd}","names":{refusing},"left":{daily.remaining}}'

[[refusal.variant]]
of           = "general"
content_type = "text/plain; charset=utf-8"
body         = "user {attribute.user} key {attribute.key}"
"#;

fn all_dialects() -> &'static [Dialect] {
    static ALL: OnceLock<Vec<Dialect>> = OnceLock::new();
    ALL.get_or_init(|| {
        let echo = Dialect::parse("echo", ECHO).unwrap_or_else(|errors| panic!("{errors}"));
        vendors().iter().map(|folder| dialect(folder)).chain([echo]).collect()
    })
}

fn dialect_named(name: &str) -> &'static Dialect {
    all_dialects().iter().find(|dialect| dialect.name() == name).expect("it is among them")
}

/// One limit of a decision.
#[derive(Clone, Debug)]
struct Stand {
    draft: LimitDraft,
    status: Status,
}

#[derive(Clone, Debug)]
struct Scene {
    stands: Vec<Stand>,
    attributes: Vec<(&'static str, String)>,
    at: Timestamp,
}

impl Scene {
    fn policy(&self) -> Policy {
        let names = self.attributes.iter().map(|(name, _)| *name);
        policy(self.stands.iter().map(|stand| &stand.draft), names, &["SendMessage".to_owned()])
    }

    /// Hands over the decision.
    fn decide<T>(&self, then: impl FnOnce(&Decision<'_>) -> T) -> T {
        let policy = self.policy();
        let mut builder = Demand::on(&policy);
        set_all(&mut builder, &policy, &self.attributes);
        let demand = builder.build();
        let statuses: Vec<Status> = self.stands.iter().map(|stand| stand.status).collect();
        then(&decision(&demand, &statuses, self.at))
    }

    /// The fields in one dialect.
    fn render(&self, dialect: &Dialect) -> Fields {
        self.decide(|decision| dialect.render(decision))
    }

    /// The fields in every dialect, and whether it was admitted.
    fn render_all(&self) -> (Vec<Fields>, bool) {
        self.decide(|decision| {
            (all_dialects().iter().map(|dialect| dialect.render(decision)).collect(), decision.is_admitted())
        })
    }
}

fn micros() -> impl Strategy<Value = u64> {
    prop_oneof![0..2_000_000u64, 0..200_000_000_000u64, Just(u64::MAX), Just(1), Just(999_999), Just(1_000_000)]
}

fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![0..200u64, 0..=bounds::MAX_AMOUNT, Just(bounds::MAX_AMOUNT)]
}

fn stand(name: &'static str) -> impl Strategy<Value = Stand> {
    let algorithm = prop_oneof![
        Just(Algorithm::FixedWindow),
        Just(Algorithm::SlidingWindow { cells: 10 }),
        Just(Algorithm::TokenBucket),
        Just(Algorithm::Concurrency),
    ];
    let wait = prop_oneof![
        4 => Just(Wait::None),
        3 => (1..10_000_000_000u64).prop_map(|micros| Wait::For(Span::from_micros(micros))),
        1 => Just(Wait::For(Span::from_micros(u64::MAX))),
        1 => Just(Wait::Release),
        1 => Just(Wait::Never),
    ];
    let window = prop_oneof![Just(1_000u64), Just(1_000_000), Just(60_000_000), 1_000..86_400_000_000u64];
    let unit = prop_oneof![Just("requests"), Just("tokens"), Just("content-bytes")];
    let quota = (amount(), window, prop_oneof![Just(None), (1..200u64).prop_map(Some)]);
    (algorithm, quota, wait, (any::<u64>(), micros()), unit, prop::bool::weighted(0.2)).prop_map(
        move |(algorithm, (amount, window, burst), retry_after, (left, reset), unit, shadow)| {
            let mut draft = draft_of(name);
            // Amounts whose interval a bucket can count exactly.
            let amount = if algorithm == Algorithm::TokenBucket { amount % 1_000 + 1 } else { amount };
            let burst = burst.filter(|_| algorithm == Algorithm::TokenBucket).unwrap_or(amount);
            let window = if algorithm == Algorithm::Concurrency { 0 } else { window };
            draft.quota = QuotaTree::Fixed(Quota { burst, ..Quota::per(amount, Span::from_micros(window)) });
            draft.algorithm = algorithm;
            draft.unit = unit.to_owned();
            draft.mode = if shadow { Mode::Shadow } else { Mode::Enforce };
            let status = Status { remaining: left % (burst + 1), reset_after: Span::from_micros(reset), retry_after };
            Stand { draft, status }
        },
    )
}

/// Texts that break lines, strings, headers and encodings.
fn nasty() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just("\r\n".to_owned()),
        Just("\n".to_owned()),
        Just("\0".to_owned()),
        Just("\r\nSet-Cookie: a=b\r\n\r\n<html>".to_owned()),
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just("\\u00".to_owned()),
        Just("%0d%0a".to_owned()),
        Just("{limit}".to_owned()),
        Just("\u{7f}\u{80}\u{85}\u{2028}\u{feff}".to_owned()),
        Just("é😀".to_owned()),
        Just(" ".to_owned()),
        Just("\t".to_owned()),
        Just("x".repeat(600)),
        any::<char>().prop_map(String::from),
        (0..0x20u8).prop_map(|byte| char::from(byte).to_string()),
        "[ -~]{0,12}",
    ];
    vec(pieces, 0..8).prop_map(|pieces| {
        let mut text = pieces.concat();
        while text.len() > bounds::MAX_ATTRIBUTE_BYTES {
            text.pop();
        }
        text
    })
}

fn scene() -> impl Strategy<Value = Scene> {
    let stands = NAMES.map(|name| prop::option::weighted(0.4, stand(name)));
    let at = prop_oneof![Just(1_706_774_415_250_000u64), Just(0), Just(u64::MAX), any::<u64>()];
    (stands, nasty(), prop::option::of(nasty()), at).prop_map(|(stands, user, key, at)| {
        let mut attributes = vec![("user", user), ("operation", "SendMessage".to_owned())];
        attributes.extend(key.map(|key| ("key", key)));
        Scene { stands: stands.into_iter().flatten().collect(), attributes, at: Timestamp::from_micros(at) }
    })
}

/// Every name is a token, every value visible ASCII with inner spaces, no name occurs twice, a JSON body is JSON.
fn check_on_the_wire(fields: &Fields) -> Result<(), TestCaseError> {
    for (index, (name, value)) in fields.headers().enumerate() {
        prop_assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
        prop_assert!(value.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{name}: {value:?}");
        prop_assert!(!value.is_empty() && value.trim() == value, "{name}: {value:?}");
        prop_assert!(value.len() <= 16 * 1024, "{name} has {} bytes", value.len());
        prop_assert!(!fields.headers().take(index).any(|(earlier, _)| earlier.eq_ignore_ascii_case(name)));
    }
    if let Some(body) = fields.body() {
        prop_assert!(body.len() <= 64 * 1024);
        match fields.header("content-type") {
            Some("application/json" | "application/problem+json") => {
                prop_assert!(serde_json::from_str::<serde_json::Value>(body).is_ok(), "{body}");
                prop_assert!(!body.bytes().any(|byte| byte < 0x20), "{body:?}");
            }
            Some(_) => prop_assert!(!body.chars().any(char::is_control), "{body:?}"),
            None => prop_assert!(false, "a body without a content type"),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12_000, ..ProptestConfig::default() })]

    /// P12: whatever strangers send, nothing but a header's value comes of it, and a body stays what it is. In every
    /// dialect, on every decision, with numbers at their ends.
    #[test]
    fn nothing_that_is_sent_breaks_out(scene in scene()) {
        let (all, is_admitted) = scene.render_all();
        for fields in all {
            prop_assert_eq!(is_admitted, fields.status == 200);
            prop_assert!(!is_admitted || fields.body().is_none());
            check_on_the_wire(&fields)?;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// A user's name in a message is that name to whoever reads the JSON.
    #[test]
    fn a_name_in_a_body_is_read_back(user in nasty()) {
        let echo = dialect_named("echo");
        let mut stand = Stand { draft: draft_of("daily"), status: Status::default() };
        stand.draft.quota = QuotaTree::Fixed(Quota::per(5, Span::from_secs(60)));
        stand.status.retry_after = Wait::For(Span::from_secs(1));
        let scene = Scene { stands: vec![stand], attributes: vec![("user", user.clone())], at: Timestamp::default() };
        let fields = scene.render(echo);
        let body: serde_json::Value = serde_json::from_str(fields.body().expect("a refusal")).expect("JSON");
        let read = body["user"].as_str().expect("a string");
        prop_assert!(read == user || (user.len() > 1_024 && read.len() > 1_020 && user.starts_with(read)));
        prop_assert_eq!(&body["key"], "");
    }

    /// Two values that differ are not made one, within the bound.
    #[test]
    fn values_in_headers_stay_apart(one in nasty(), other in nasty()) {
        let echo = dialect_named("echo");
        let header = |user: &String| {
            let mut stand = Stand { draft: draft_of("daily"), status: Status::default() };
            stand.draft.quota = QuotaTree::Fixed(Quota::per(5, Span::from_secs(60)));
            let attributes = vec![("user", user.clone())];
            let fields = Scene { stands: vec![stand], attributes, at: Timestamp::default() }.render(echo);
            (fields.header("X-User").map(str::to_owned), fields.header("X-List").map(str::to_owned))
        };
        if one != other && one.len() <= 256 && other.len() <= 256 {
            prop_assert_ne!(header(&one).0, header(&other).0);
            prop_assert_ne!(header(&one).1, header(&other).1);
        }
    }

    /// I11: reset is not before now and less than its unit too late; a refusal's whole seconds are at least one and
    /// suffice; a wait without end, or with one that nobody knows, is no header, and in a body a number all the same.
    #[test]
    fn times_are_never_early(scene in scene()) {
        let binding = scene.decide(|decision| decision.binding().map(|ruling| ruling.status));
        let Some(binding) = binding else { return Ok(()) };
        let unix = scene.at.plus(binding.reset_after).as_micros();
        let is_admitted = scene.decide(|decision| decision.is_admitted());
        for dialect in ["whatsapp", "cometchat", "stream"].map(dialect_named) {
            let fields = scene.render(dialect);
            if let Some(reset) = fields.header("X-RateLimit-Reset") {
                prop_assert_eq!(reset.parse::<u64>().expect("a whole number"), unix.div_ceil(1_000_000));
            }
            let wait = fields.header("Retry-After").map(|text| text.parse::<u64>().expect("a whole number"));
            match binding.retry_after {
                _ if is_admitted || dialect.name() != "cometchat" => prop_assert_eq!(wait, None),
                Wait::For(span) => prop_assert_eq!(wait, Some(span.as_micros().div_ceil(1_000_000).max(1))),
                Wait::Release | Wait::Never | Wait::None => prop_assert_eq!(wait, None),
            }
            if dialect.name() == "whatsapp" && !is_admitted {
                let body: serde_json::Value = serde_json::from_str(fields.body().expect("a body")).expect("JSON");
                prop_assert!(body["retryAfter"].as_u64().is_some_and(|seconds| seconds >= 1));
            }
        }
    }

    /// A decimal is exact to the microsecond.
    #[test]
    fn decimals_are_exact(reset in micros(), wait in 1..u64::MAX) {
        let mut stand = Stand { draft: draft_of("plan"), status: Status::default() };
        stand.draft.quota = QuotaTree::Fixed(Quota::per(5, Span::from_secs(1)));
        stand.status.reset_after = Span::from_micros(reset);
        stand.status.retry_after = Wait::For(Span::from_micros(wait));
        let scene = Scene { stands: vec![stand], attributes: Vec::new(), at: Timestamp::default() };
        let fields = scene.render(dialect_named("sendbird"));
        prop_assert_eq!(micros_of(fields.header("X-RateLimit-Reset").expect("a reset")), reset);
        prop_assert_eq!(micros_of(fields.header("X-RateLimit-RetryAfter").expect("a wait")), wait);
    }

    /// I37: a shadow limit changes no byte, whatever it says and wherever it stands.
    #[test]
    fn shadow_limits_do_not_show(scene in scene()) {
        let mut without = scene.clone();
        without.stands.retain(|stand| stand.draft.mode == Mode::Enforce);
        prop_assert_eq!(scene.render_all(), without.render_all());
    }

    /// The common dialect's lists are lists of RFC 9651, an item for each limit that shows, keys as the draft has them.
    #[test]
    fn lists_are_structured_fields(scene in scene()) {
        let fields = scene.render(dialect_named("ietf"));
        let shown: Vec<&Stand> = scene.stands.iter().filter(|stand| stand.draft.mode == Mode::Enforce).collect();
        for (name, required) in [("RateLimit-Policy", "q"), ("RateLimit", "r")] {
            let Some(value) = fields.header(name) else {
                prop_assert!(shown.is_empty());
                continue;
            };
            let list: sfv::List = sfv::Parser::new(value).parse().expect("a list");
            prop_assert_eq!(list.len(), shown.len());
            for (entry, stand) in list.iter().zip(&shown) {
                let sfv::ListEntry::Item(item) = entry else { panic!("an inner list in {value}") };
                prop_assert_eq!(item.bare_item.as_string().map(|name| name.as_str()), Some(&*stand.draft.name));
                prop_assert!(item.params.get(required).and_then(|value| value.as_integer()).is_some());
                if let Some(window) = item.params.get("w") {
                    prop_assert!(window.as_integer().is_some_and(|window| i64::from(window) >= 1));
                }
            }
        }
    }

    /// Reading never panics, and what it accepts renders.
    #[test]
    fn mangled_dialects_are_refused_or_render(cut in 0..4_000usize, drop in 0..40usize, put in "[\\PC\\n]{0,6}", which in 0..7usize) {
        let mut texts: Vec<String> = vendors().iter().map(|folder| {
            std::fs::read_to_string(folder.join("dialect.toml")).expect("a dialect")
        }).collect();
        texts.push(ECHO.to_owned());
        let text: Vec<char> = texts[which % texts.len()].chars().collect();
        let cut = cut % text.len();
        let end = (cut + drop).min(text.len());
        let mangled: String = text[..cut].iter().copied().chain(put.chars()).chain(text[end..].iter().copied()).collect();
        match Dialect::parse("mangled", &mangled) {
            Ok(dialect) => {
                let mut stand = Stand { draft: draft_of("daily"), status: Status::default() };
                stand.draft.quota = QuotaTree::Fixed(Quota::per(5, Span::from_secs(60)));
                stand.status.retry_after = Wait::Never;
                let scene = Scene { stands: vec![stand], attributes: vec![("user", "\r\n\"".to_owned())], at: Timestamp::default() };
                let fields = scene.render(&dialect);
                prop_assert!(fields.headers().all(|(_, value)| value.bytes().all(|byte| (0x20..0x7f).contains(&byte))));
            }
            Err(errors) => {
                prop_assert!(errors.iter().len() > 0);
                let lines = mangled.matches('\n').count() + 1;
                prop_assert!(errors.iter().all(|error| error.line >= 1 && error.line <= lines && !error.message.is_empty()));
            }
        }
    }

    /// A query of an inspection is answered, whatever it is, in JSON.
    #[test]
    fn inspections_answer_any_query(query in "([a-z_]{1,12}|ios|web|endpoints|%[0-9a-f]{0,2}|[=&,+%]|[!-~]|true|1|SendMessage){0,24}") {
        let inspection = dialect_named("stream").inspection().expect("it has one");
        let mut limit = draft_of("app-minute");
        limit.quota = QuotaTree::Fixed(Quota::per(60, Span::from_secs(60)));
        let policy = policy([&limit].into_iter(), ["platform"].into_iter(), &["SendMessage".to_owned()]);
        let mut builder = Demand::on(&policy);
        builder.set(policy.attribute("platform").expect("declared"), "server").expect("it fits");
        // Of the call that asks; the rows are of other operations, with methods of their own.
        builder.set(AttributeId::METHOD, "GET").expect("it fits");
        let full = Status { remaining: 60, reset_after: Span::from_secs(5), retry_after: Wait::None };
        let mut peeks = 0;
        let fields = inspection.answer(&policy, &builder, &query, |demand| {
            peeks += 1;
            assert_eq!(demand.value("method"), None);
            decision(demand, &[full], Timestamp::from_secs(1))
        });
        prop_assert!(matches!(fields.status, 200 | 400) && peeks <= 4);
        check_on_the_wire(&fields)?;
        prop_assert!(fields.body().is_some());
    }
}

/// A decimal number of seconds as microseconds.
fn micros_of(text: &str) -> u64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    assert!(fraction.len() <= 6 && !fraction.ends_with('0') && !text.ends_with('.'), "{text}");
    let micros: u64 = format!("{fraction:0<6}").parse().expect("digits");
    whole.parse::<u64>().expect("digits") * 1_000_000 + micros
}
