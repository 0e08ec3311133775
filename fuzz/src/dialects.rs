//! Dialect texts: all problems at lines that are there; or a dialect whose every word can go on the wire.

use std::sync::LazyLock;

use http::{HeaderName, HeaderValue, StatusCode};
use tidegate_core::{Demand, Timestamp};
use tidegate_dialect::{Dialect, Fields};
use tidegate_limiter::{Limiter, ManualClock, Memory, MemoryOptions};
use tidegate_policy::{Lowered, Source, lower};

const POLICY: &str = r#"
name = "spelt"

[attributes]
user = "header:X-User"
key  = "header:X-Key"

[[limit]]
name  = "general"
per   = "user"
quota = "2/min"

[[limit]]
name      = "daily"
per       = "key"
quota     = "3/d"
algorithm = "token-bucket"

[[limit]]
name  = "none"
quota = "0/s"
mode  = "shadow"
"#;

static LOWERED: LazyLock<Lowered> = LazyLock::new(|| {
    lower(&Source { name: "spelt.toml", text: POLICY }, 1).unwrap_or_else(|problems| panic!("{problems}"))
});

/// What a stranger may send, to be written where a dialect writes it.
const VALUES: [&str; 4] = ["u1", "a\r\nX-Evil: 1", "\"\\\u{0}é\u{2028}</script>", "%s{remaining}"];

/// Any text is a dialect, or said to be none at places that are in it.
pub fn dialect(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Dialect::parse("fuzz", text) {
        Err(errors) => {
            assert!(errors.iter().len() > 0, "refused without a reason");
            for error in errors.iter() {
                let line = text.split('\n').nth(error.line.wrapping_sub(1));
                let columns = line.map(|line| line.chars().count() + 1);
                assert!(
                    columns.is_some_and(|columns| (1..=columns).contains(&error.column)),
                    "{error} is outside of the text"
                );
                assert!(!error.message.is_empty());
            }
            assert_eq!(Dialect::parse("fuzz", text).err(), Some(errors), "other problems the second time");
        }
        Ok(dialect) => speak(&dialect),
    }
}

fn speak(dialect: &Dialect) {
    let policy = &LOWERED.policy;
    let names = dialect.check(policy);
    assert_eq!(names, dialect.check(policy));
    let limiter = Limiter::new(
        Memory::new(MemoryOptions { max_counters: 64 }),
        ManualClock::at(Timestamp::from_secs(1_706_774_400)),
        (),
    );
    let [user, key] = ["user", "key"].map(|name| policy.attribute(name).expect("an attribute of the policy"));
    for value in VALUES {
        for _ in 0..4 {
            let mut builder = Demand::on(policy);
            builder.set(user, value).and_then(|builder| builder.set(key, "k")).expect("values that a demand can have");
            let demand = builder.build();
            let decision = limiter.check(&demand);
            let fields = dialect.render(&decision);
            check(&fields);
            assert_eq!(fields, dialect.render(&decision), "one decision, two spellings");
            if decision.is_admitted() {
                assert!(fields.body().is_none(), "an admitted request has its upstream's body");
            }
        }
    }
}

/// What is written can go on the wire: no header ends early, none is there twice.
fn check(fields: &Fields) {
    assert!(StatusCode::from_u16(fields.status).is_ok(), "status {}", fields.status);
    for (index, (name, value)) in fields.headers().enumerate() {
        assert!(HeaderName::from_bytes(name.as_bytes()).is_ok(), "header name {name:?}");
        assert!(HeaderValue::from_str(value).is_ok(), "header value {value:?}");
        assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~')), "header value {value:?}");
        let is_again = |(other, _): (&str, &str)| other.eq_ignore_ascii_case(name);
        assert!(!fields.headers().take(index).any(is_again), "header {name} twice");
    }
}
