//! Traces of JSON lines and access logs: every line is asked or passed over, and time does not run backwards.

use std::io::Cursor;

use tidegate_core::{Span, Timestamp};
use tidegate_limiter::MemoryOptions;
use tidegate_policy::Lowered;
use tidegate_sim::{Form, Outcome, Trace, World};

use crate::api::chosen;

/// JSON lines.
pub fn trace(data: &[u8]) {
    let Some((api, lines)) = chosen(data) else { return };
    let first = br#"{"t":0,"attributes":{}}"#;
    replay(api, &[first.as_slice(), b"\n", lines].concat(), Form::JsonLines);
}

/// Lines of an access log.
pub fn access_log(data: &[u8]) {
    let Some((api, lines)) = chosen(data) else { return };
    let first = br#"h - - [01/Jan/1970:00:00:00 +0000] "GET / HTTP/1.1" 200 5"#;
    replay(api, &[first.as_slice(), b"\n", lines].concat(), Form::AccessLog);
}

fn replay(api: &Lowered, text: &[u8], form: Form) {
    let world = World::new(&api.policy, &api.intake, MemoryOptions { max_counters: 64 });
    let mut trace = Trace::new(Cursor::new(text));
    let lines = text.split(|byte| *byte == b'\n').count() as u64;
    let (mut latest, mut last, mut understood) = (Timestamp::default(), 0, 0);
    while let Some(next) = trace.next(&api.policy) {
        match next {
            Err(error) => {
                assert!(error.can_go_on() && error.line() > last && error.line() <= lines, "{error}");
                assert!(
                    error.to_string().starts_with(&format!("line {}: ", error.line()))
                        && error.to_string().len() < 8_000
                );
                last = error.line();
            }
            Ok(entry) => {
                understood += 1;
                assert!(entry.line > last && entry.line <= lines);
                assert!(entry.at >= latest, "time runs backwards at line {}", entry.line);
                (latest, last) = (entry.at, entry.line);
                world.ask(&entry, |outcome| match outcome {
                    Outcome::BadRequest { place, message } => assert!(!place.is_empty() && !message.is_empty()),
                    Outcome::Decided(decision) => {
                        assert_eq!(decision.at(), entry.at);
                        for ruling in decision.rulings() {
                            assert!(
                                ruling.status.remaining <= ruling.rule().limit(),
                                "more is left than there is (I11)"
                            );
                            assert!(ruling.status.reset_after <= Span::from_micros(u64::MAX / 2));
                        }
                    }
                });
            }
        }
    }
    assert!(understood >= 1, "the first line is understood");
    assert_eq!(trace.form(), Some(form));
}
