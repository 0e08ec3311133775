//! Bodies of `/v1/check`: what is understood, written out again, is the same question.

use serde_json::{Map, Value, json};
use tidegate_core::{AttributeId, Demand, Policy, UnitId};
use tidegate_policy::question::{BadQuestion, Json, Question};

use crate::api::chosen;

/// A question or an array of them.
pub fn question(data: &[u8]) {
    let Some((api, body)) = chosen(data) else { return };
    let policy = &api.policy;
    let json = match Json::parse(body) {
        Ok(json) => json,
        Err(bad) => {
            let numbers =
                |word: &str| word.split(|c: char| !c.is_ascii_digit()).find_map(|digits| digits.parse::<usize>().ok());
            let line = numbers(&bad.place).expect("a line");
            assert!(line <= body.split(|byte| *byte == b'\n').count(), "{bad} is outside of the body");
            return complain(&bad);
        }
    };
    let items = if json.is_array() { json.items(1_000).unwrap_or_default() } else { vec![json] };
    for item in items {
        match read(policy, item) {
            Err(bad) => complain(&bad),
            Ok(question) => same_again(policy, &question),
        }
    }
}

fn read<'q>(policy: &'q Policy, json: Json<'q>) -> Result<Question<'q>, BadQuestion> {
    let [_, attributes, cost, peek, _] = json.known_members(["policy", "attributes", "cost", "peek", "reserve"])?;
    peek.map_or(Ok(false), Json::boolean)?;
    Question::read(policy, attributes, cost)
}

fn same_again(policy: &Policy, question: &Question<'_>) {
    let text = written(policy, question).to_string();
    let json = Json::parse(text.as_bytes()).expect("what is written is JSON");
    let again = read(policy, json).unwrap_or_else(|bad| panic!("{bad}: {text}"));
    let (first, second) = (question.demand().build(), again.demand().build());
    assert_eq!(facts(&first), facts(&second), "{text}");
}

/// The question as JSON: what was set, and no more.
fn written(policy: &Policy, question: &Question<'_>) -> Value {
    let demand = question.demand();
    let built = demand.build();
    let mut attributes = Map::new();
    for name in policy.attribute_names() {
        let id = policy.attribute(name).expect("an attribute by its name");
        if question.has(id) {
            let value = demand.value(id).expect("what was set has a value");
            attributes.insert(name.to_owned(), json!(value));
        }
    }
    let mut cost = Map::new();
    for name in policy.unit_names() {
        let id = policy.unit(name).expect("a unit by its name");
        cost.extend(built.cost(id).map(|amount| (name.to_owned(), json!(amount))));
    }
    json!({ "attributes": attributes, "cost": cost })
}

type Said = (Vec<Option<String>>, Vec<Option<u64>>);

fn facts(demand: &Demand<'_>) -> Said {
    let policy = demand.policy();
    let values = policy.attribute_names().map(|name| demand.value(name).map(str::to_owned)).collect();
    let costs = policy.unit_names().map(|name| policy.unit(name).and_then(|id: UnitId| demand.cost(id))).collect();
    let operation = demand.attributes().value(AttributeId::OPERATION);
    assert_eq!(operation, Some(policy.operation(demand.operation()).name()));
    (values, costs)
}

fn complain(bad: &BadQuestion) {
    assert!(!bad.message.is_empty());
    assert!(bad.to_string().len() < 8_000, "a complaint as long as what it is about");
}
