//! From facts to demands: overriding, and whose plan counts.

use tidegate_core::{AttributeId, DemandError, RecordDraft, UnitId, bounds};
use tidegate_policy::Facts;

use super::sketch::{Api, Request, Sketch};

fn api() -> Api {
    let record = RecordDraft { plan: Some("recorded".to_owned()), ..RecordDraft::default() };
    let mut sketch = Sketch::new()
        .route("send", "POST /send/{user}")
        .attribute("app", &["header:app"])
        .attribute("user", &["path:user"])
        .attribute("plan", &["header:plan"])
        .record("app", "with-plan", record)
        .record("app", "without-plan", RecordDraft::default())
        .limit("l", &[], &["app"]);
    sketch.policy.default_plan = Some("default".to_owned());
    sketch.build()
}

fn plan(api: &Api, facts: &Facts) -> String {
    let demand = facts.demand(&api.policy).expect("facts in bounds").build();
    demand.value("plan").expect("a plan").to_owned()
}

#[test]
fn a_request_becomes_a_demand() {
    let api = api();
    let facts = api.facts(&Request::new("POST", "/send/max").header("app", "a")).unwrap();
    let demand = facts.demand(&api.policy).unwrap().build();
    assert_eq!(demand.operation(), api.operation("send"));
    let values = ["operation", "method", "plan", "app", "user", "class"].map(|name| demand.value(name));
    assert_eq!(values, [Some("send"), Some("POST"), Some("default"), Some("a"), Some("max"), None]);
    assert_eq!(demand.cost(UnitId::REQUESTS), None);
    let values: Vec<_> = facts.values().map(|(id, value)| (api.policy.attribute_name(id), value)).collect();
    assert_eq!(values, [("method", "POST"), ("app", "a"), ("user", "max")]);
}

#[test]
fn whose_plan_counts() {
    let api = api();
    let facts = |app: &str, plan: &str| {
        let request = Request::new("POST", "/send/max").header("app", app).header("plan", plan);
        api.facts(&request).unwrap()
    };
    assert_eq!(plan(&api, &facts("with-plan", "")), "recorded");
    assert_eq!(plan(&api, &facts("with-plan", "claimed")), "recorded", "a record's plan wins over a header's");
    assert_eq!(plan(&api, &facts("without-plan", "claimed")), "claimed");
    assert_eq!(plan(&api, &facts("unknown", "claimed")), "claimed");
    assert_eq!(plan(&api, &facts("unknown", "")), "default");
    let mut stated = facts("with-plan", "claimed");
    stated.set(AttributeId::PLAN, "stated".to_owned());
    assert_eq!(plan(&api, &stated), "stated", "a plan that is stated wins over both");
    stated.clear(AttributeId::PLAN);
    assert_eq!(plan(&api, &stated), "recorded");
    let mut moved = facts("unknown", "claimed");
    moved.set(api.policy.attribute("app").unwrap(), "with-plan".to_owned());
    assert_eq!(plan(&api, &moved), "recorded", "the record is that of the app in the end");
}

#[test]
fn facts_can_be_overridden() {
    let api = api();
    let mut facts = api.facts(&Request::new("POST", "/send/max").header("app", "a")).unwrap();
    let user = api.policy.attribute("user").unwrap();
    facts.set(user, "moritz".to_owned());
    facts.set(AttributeId::METHOD, "GET".to_owned());
    facts.set(AttributeId::OPERATION, "other".to_owned());
    facts.set_cost(UnitId::REQUESTS, 3);
    facts.set_cost(UnitId::REQUESTS, 4);
    facts.clear(api.policy.attribute("app").unwrap());
    let demand = facts.demand(&api.policy).unwrap().build();
    assert_eq!(demand.operation(), api.operation("other"));
    let values = ["operation", "method", "app", "user"].map(|name| demand.value(name));
    assert_eq!(values, [Some("other"), Some("GET"), None, Some("moritz")]);
    assert_eq!(demand.cost(UnitId::REQUESTS), Some(4));
}

#[test]
fn overriding_with_nonsense() {
    let api = api();
    let facts = api.facts(&Request::new("POST", "/send/max")).unwrap();
    let user = api.policy.attribute("user").unwrap();
    let after = |change: &dyn Fn(&mut Facts)| {
        let mut facts = facts.clone();
        change(&mut facts);
        facts.demand(&api.policy).map(|_| ()).unwrap_err()
    };
    assert_eq!(after(&|facts| facts.set(AttributeId::OPERATION, "nothing".to_owned())), DemandError::UnknownOperation);
    assert_eq!(after(&|facts| facts.set(AttributeId::CLASS, "core".to_owned())), DemandError::ClassIsDerived);
    assert_eq!(
        after(&|facts| facts.set(user, "x".repeat(4_097))),
        DemandError::ValueTooLong { attribute: user, bytes: 4_097 }
    );
    let amount = bounds::MAX_AMOUNT + 1;
    assert_eq!(
        after(&|facts| facts.set_cost(UnitId::REQUESTS, amount)),
        DemandError::CostTooLarge { unit: UnitId::REQUESTS, amount }
    );
}

#[test]
fn a_route_of_another_intake_does_no_harm() {
    let big = api();
    let small = Sketch::new().attribute("user", &["header:user"]).build();
    let route = big.intake.route(&http::Method::POST, "/send/max").unwrap();
    let asked = tidegate_policy::Asked { peer: None, host: None, headers: &http::HeaderMap::new(), body: Some(b"{}") };
    let facts = small.intake.extract(&small.policy, &route, &asked, super::sketch::NOW).unwrap();
    assert_eq!(facts.operation(), route.operation());
}
