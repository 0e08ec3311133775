//! Questions in JSON, as far as the surfaces that ask them do not hold them: what a value counts as, and help.

use std::borrow::Cow;

use tidegate_core::AttributeId;
use tidegate_policy::question::{Json, Question, instead};

use crate::lowering::lowered;

#[test]
fn a_question_by_head_is_one_by_get() {
    let policy = lowered("q", "name = \"q\"").policy;
    for (method, counts_as) in [("HEAD", "GET"), ("GET", "GET"), ("POST", "POST")] {
        let mut question = Question::on(&policy);
        question.set("method", Cow::Borrowed(method)).expect("a method");
        assert_eq!(question.demand().build().attributes().value(AttributeId::METHOD), Some(counts_as));
    }
}

#[test]
fn help_names_the_nearest_or_some() {
    for (name, known, help) in [
        ("sned", &["send", "list"][..], "did you mean `send`?"),
        ("App", &["app", "key"], "did you mean `app`?"),
        ("colour", &["app", "key"], "there are `app`, `key`"),
        ("", &["app"], "there are `app`"),
    ] {
        assert_eq!(instead(name, known.iter().copied()), help, "{name}");
    }
    let many: Vec<String> = (0..20_000).map(|index| format!("operation-{index}")).collect();
    let help = instead(&"x".repeat(4_096), many.iter().map(String::as_str));
    assert!(help.starts_with("there are `operation-0`, ") && help.ends_with(" and 19988 more"), "{help}");
}

/// I12: as at the gateway, an empty value is absent: nobody gets a counter of its own by it, or out of one.
#[test]
fn an_empty_value_is_absent_i12() {
    let policy = lowered(
        "q",
        "name = 'q'\nattributes = { app = 'header:a' }\n[[limit]]\nname = 'a'\nper = ['app?']\nquota = '1/s'\n",
    )
    .policy;
    let read = |text: &'static [u8]| Question::read(&policy, Some(Json::parse(text).expect("JSON")), None);
    let question = read(br#"{"app":"","operation":"","plan":"","method":""}"#).expect("a question");
    let demand = question.demand().build();
    assert_eq!((demand.value("app"), demand.value("plan"), demand.value("method")), (None, None, None));
    assert_eq!(demand.operation(), policy.default_operation());
    assert!(!question.has(policy.attribute("app").expect("it is declared")));
    for twice in [br#"{"app":"","app":"a"}"#, br#"{"app":"a","app":""}"#] {
        assert_eq!(
            read(twice).map(drop).unwrap_err().to_string(),
            "attributes.app: is given twice (leave one of the two out)"
        );
    }
}
