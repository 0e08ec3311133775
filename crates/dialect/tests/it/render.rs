//! What the keys of a dialect do, each by itself. The shipped dialects' whole answers are in `vendors/*/conformance.txt`.

use tidegate_core::{Demand, LimitDraft, Quota, QuotaTree, Span, Status, Timestamp, Wait};
use tidegate_dialect::{Dialect, Fields};

use crate::build::{decision, draft_of, policy, set_all};
use crate::shipped::{dialect, vendors};

fn parse(text: &str) -> Dialect {
    Dialect::parse("test", text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn limit(name: &str) -> LimitDraft {
    LimitDraft { quota: QuotaTree::Fixed(Quota::per(10, Span::from_secs(60))), ..draft_of(name) }
}

const FITS: Status = Status { remaining: 7, reset_after: Span::from_secs(30), retry_after: Wait::None };
const REFUSES: Status =
    Status { remaining: 0, reset_after: Span::from_secs(30), retry_after: Wait::For(Span::from_micros(12_500_000)) };

/// What a dialect writes of limits that stand so, for a demand with these attributes.
fn render(dialect: &Dialect, limits: &[(&str, Status)], attributes: &[(&str, &str)]) -> Fields {
    let drafts: Vec<LimitDraft> = limits.iter().map(|(name, _)| limit(name)).collect();
    let declared = ["user", "key"].into_iter();
    let policy = policy(drafts.iter(), declared, &[]);
    let attributes: Vec<(&str, String)> = attributes.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let mut builder = Demand::on(&policy);
    set_all(&mut builder, &policy, &attributes);
    let demand = builder.build();
    let statuses: Vec<Status> = limits.iter().map(|(_, status)| *status).collect();
    dialect.render(&decision(&demand, &statuses, Timestamp::from_secs(1_000)))
}

fn headers(fields: &Fields) -> Vec<(&str, &str)> {
    fields.headers().collect()
}

#[test]
fn every_way_to_write_a_time() {
    let dialect = parse(
        r#"
[[headers]]
of = "binding"
on = ["refused"]
[headers.write]
A = "{retry_after:seconds}"
B = "{retry_after:decimal-seconds}"
C = "{retry_after:milliseconds}"
D = "{retry_after:unix-seconds}"
E = "{retry_after:unix-milliseconds}"
F = "{reset:seconds};{next:seconds};{window:milliseconds}"
[refusal]
status = 503
"#,
    );
    let fields = render(&dialect, &[("a", REFUSES)], &[]);
    assert_eq!((fields.status, fields.body()), (503, None));
    let expected = [("A", "13"), ("B", "12.5"), ("C", "12500"), ("D", "1013"), ("E", "1012500"), ("F", "30;13;60000")];
    assert_eq!(headers(&fields), expected);
    assert_eq!(headers(&render(&dialect, &[("a", FITS)], &[])), []);
}

#[test]
fn a_header_whose_value_is_missing_or_empty_is_left_out() {
    let dialect = parse(
        r#"
[[headers]]
of = "a"
on = ["admitted"]
[headers.write]
X-User  = "user {attribute.user}"
X-Key   = "{attribute.key}"
X-None  = "{attribute.nobody-has-it}"
X-Other = "{b.remaining} of {b.limit}"
X-Word  = "{word.kind}"
X-Brace = "{{{remaining}}"
[words.kind]
b = "bee"
[refusal]
status = 429
"#,
    );
    let fields = render(&dialect, &[("a", FITS)], &[("user", "")]);
    assert_eq!(headers(&fields), [("X-Brace", "{7}")]);
    let fields =
        render(&dialect, &[("a", FITS), ("b", Status { remaining: 3, ..FITS })], &[("user", "é %"), ("key", "k")]);
    let expected = [
        ("X-User", "user %C3%A9%20%25"),
        ("X-Key", "k"),
        ("X-Other", "3 of 10"),
        ("X-Word", "bee"),
        ("X-Brace", "{7}"),
    ];
    assert_eq!(headers(&fields), expected);
}

#[test]
fn of_two_families_that_write_a_header_the_first_does() {
    let dialect = parse(
        r#"
[[headers]]
of = "a"
on = ["admitted", "refused-by-it"]
[headers.write]
X-Left = "a {remaining}"
[[headers]]
of = "b"
on = ["admitted", "refused"]
[headers.write]
x-left = "b {remaining}"
[refusal]
status = 429
"#,
    );
    assert_eq!(headers(&render(&dialect, &[("a", FITS), ("b", FITS)], &[])), [("X-Left", "a 7")]);
    assert_eq!(headers(&render(&dialect, &[("b", FITS)], &[])), [("x-left", "b 7")]);
    assert_eq!(headers(&render(&dialect, &[("a", FITS), ("b", REFUSES)], &[])), [("x-left", "b 0")]);
    assert_eq!(headers(&render(&dialect, &[("c", REFUSES), ("b", FITS)], &[])), [("x-left", "b 7")]);
    assert_eq!(headers(&render(&dialect, &[("c", FITS)], &[])), []);
}

#[test]
fn a_list_has_the_limits_it_is_of() {
    let text = |of: &str| {
        format!(
            r#"
[[headers]]
of = {of}
on = ["admitted"]
[headers.list.X-Limits]
item = "{{name}}"
parameters = {{ left = "{{remaining}}", reset = "{{reset:decimal-seconds}}", k = "{{word.kind}}" }}
[words.kind]
default = "dee"
[refusal]
status = 429
"#
        )
    };
    let limits = [("a", Status { remaining: 9, ..FITS }), ("b", FITS), ("c", FITS)];
    let b = r#""b";left=7;reset=30.0;k="dee""#;
    assert_eq!(headers(&render(&parse(&text(r#""binding""#)), &limits, &[])), [("X-Limits", b)]);
    assert_eq!(headers(&render(&parse(&text(r#"["z", "b"]"#)), &limits, &[])), [("X-Limits", b)]);
    assert_eq!(headers(&render(&parse(&text(r#""z""#)), &limits, &[])), []);
    let all = headers(&render(&parse(&text(r#""every""#)), &limits, &[]))
        .first()
        .map(|(_, value)| value.matches("left=").count());
    assert_eq!(all, Some(3));
}

#[test]
fn the_first_variant_that_is_for_a_refusal_words_it() {
    let dialect = parse(
        r#"
[refusal]
status       = 429
content_type = "application/json"
body         = '{"wait":{retry_after:seconds},"b":{b.limit},"b says":"{b.remaining}"}'
[[refusal.variant]]
of     = ["b", "c"]
wait   = "never"
status = 413
[[refusal.variant]]
of           = "b"
content_type = "text/plain"
body         = "{name}: {attribute.user}"
[[refusal.variant]]
wait   = "release"
status = 503
"#,
    );
    let with = |retry_after: Wait| Status { retry_after, ..REFUSES };
    let said = |limits: &[(&str, Status)]| {
        let fields = render(&dialect, limits, &[("user", "a\nb<")]);
        (fields.status, fields.header("Content-Type").map(str::to_owned), fields.body().unwrap_or_default().to_owned())
    };
    let json = || Some("application/json".to_owned());
    assert_eq!(said(&[("a", REFUSES)]), (429, json(), r#"{"wait":13,"b":null,"b says":""}"#.to_owned()));
    assert_eq!(said(&[("a", REFUSES), ("b", FITS)]), (429, json(), r#"{"wait":13,"b":10,"b says":"7"}"#.to_owned()));
    assert_eq!(said(&[("b", with(Wait::Never))]), (413, json(), r#"{"wait":30,"b":10,"b says":"0"}"#.to_owned()));
    assert_eq!(said(&[("b", REFUSES)]), (429, Some("text/plain".to_owned()), "b: a\u{fffd}b<".to_owned()));
    assert_eq!(said(&[("a", with(Wait::Release))]), (503, json(), r#"{"wait":1,"b":null,"b says":""}"#.to_owned()));
    assert_eq!(said(&[("a", with(Wait::Never))]), (429, json(), r#"{"wait":30,"b":null,"b says":""}"#.to_owned()));
}

#[test]
fn a_number_for_never_is_a_second_where_nothing_is_to_be_reset() {
    let dialect = parse("[refusal]\nstatus = 429\ncontent_type = \"text/plain\"\nbody = \"{retry_after:seconds}\"\n");
    let status = Status { remaining: 10, reset_after: Span::ZERO, retry_after: Wait::Never };
    assert_eq!(render(&dialect, &[("a", status)], &[]).body(), Some("1"));
}

/// A number would promise what nobody knows.
#[test]
fn a_wait_for_somebody_else_is_in_no_header() {
    let dialect = parse(
        r#"
[[headers]]
of = "every"
on = ["refused"]
[headers.list.X-Limits]
item = "{name}"
parameters = { wait = "{retry_after:seconds}", next = "{next:seconds}" }
[[headers]]
of = "binding"
on = ["refused"]
[headers.write]
X-Wait = "{retry_after:decimal-seconds}"
X-Next = "{next:unix-seconds}"
[refusal]
status       = 429
content_type = "text/plain"
body         = "{retry_after:seconds} {next:seconds}"
"#,
    );
    let status = |retry_after: Wait| Status { remaining: 0, reset_after: Span::ZERO, retry_after };
    for wait in [Wait::Release, Wait::Never] {
        let fields = render(&dialect, &[("a", status(wait)), ("b", FITS)], &[]);
        let expected = [("X-Limits", r#""a", "b";wait=0;next=30"#), ("Content-Type", "text/plain")];
        assert_eq!(headers(&fields), expected, "{wait:?}");
        assert_eq!(fields.body(), Some("1 1"), "{wait:?}");
    }
}

#[test]
fn check_names_what_a_policy_lacks() {
    let qstash = vendors().into_iter().find(|folder| folder.ends_with("qstash")).expect("it ships");
    let limits = [limit("burst"), limit("dayly"), limit("chat-requests"), limit("chat-tokens")];
    let lacking = policy(limits.iter(), std::iter::empty(), &[]);
    let expected = ["a header family: policy `row` has no limit `daily`; did you mean `dayly`?"];
    assert_eq!(dialect(&qstash).check(&lacking), expected);

    let stream = vendors().into_iter().find(|folder| folder.ends_with("stream")).expect("it ships");
    let limits = [limit("app-minute"), limit("user-minute")];
    let complete = policy(limits.iter(), ["user", "platform"].into_iter(), &["GetRateLimits".to_owned()]);
    assert_eq!(dialect(&stream).check(&complete), Vec::<String>::new());
    let empty = policy(std::iter::empty(), std::iter::empty(), &[]);
    let expected = [
        "a variant of the refusal: policy `row` has no attribute `user`",
        "a variant of the refusal: policy `row` has no limit `user-minute`",
        "the inspection: policy `row` has no attribute `platform`",
        "the inspection: policy `row` has no limit `app-minute`",
        "the inspection: policy `row` has no operation `GetRateLimits`",
    ];
    assert_eq!(dialect(&stream).check(&empty), expected);
}
