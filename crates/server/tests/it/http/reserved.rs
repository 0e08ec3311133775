//! Reservations over the wire: made by a check, settled or released once, alone or in a batch.

use std::time::Duration;

use serde_json::{Value, json};

use super::desk::Desk;

fn reserve(desk: &Desk, question: &Value) -> String {
    let answer = desk.ruling(question);
    assert!(answer.allowed, "{question}");
    answer.reservation.expect("it was reserved")
}

fn close(desk: &Desk, how: &str, body: &Value) -> (u16, Value) {
    let reply = desk.client().post(&format!("/v1/{how}"), &body.to_string());
    (reply.status, serde_json::from_str(&reply.body).expect(&reply.body))
}

fn left(desk: &Desk, limit: &str) -> u64 {
    let left = desk.left("app=a&user=u&operation=send");
    left.limits.iter().find(|entry| entry.standing.name == limit).expect("it is shown").standing.remaining
}

fn chat() -> Value {
    json!({"attributes": {"app": "a", "operation": "send"}, "cost": {"tokens": 400}, "reserve": true})
}

#[test]
fn a_reservation_is_settled_once_up_or_down() {
    let desk = Desk::open();
    for (actual, remaining) in [(100, 900), (400, 500), (900, 0)] {
        let id = reserve(&desk, &chat());
        let settled = close(&desk, "settle", &json!({"reservation": id, "cost": {"tokens": actual}}));
        assert_eq!(settled, (200, json!({"reservation": id, "settled": true})));
        assert_eq!(left(&desk, "tokens-day"), remaining);
        for how in ["settle", "release"] {
            let (status, mistake) = close(&desk, how, &json!({"reservation": id}));
            assert_eq!((status, mistake["error"]["place"].as_str()), (404, Some("reservation")));
        }
    }
    assert_eq!(left(&desk, "app-minute"), 97, "units that are not named stay");
}

#[test]
fn a_release_gives_everything_back_once() {
    let desk = Desk::open();
    let id = reserve(&desk, &chat());
    assert_eq!((left(&desk, "tokens-day"), left(&desk, "app-minute")), (600, 99));
    assert_eq!(
        close(&desk, "release", &json!({"reservation": id})),
        (200, json!({"reservation": id, "released": true}))
    );
    assert_eq!((left(&desk, "tokens-day"), left(&desk, "app-minute")), (1_000, 100));
    assert_eq!(close(&desk, "release", &json!({"reservation": id})).0, 404);
    assert_eq!((left(&desk, "tokens-day"), left(&desk, "app-minute")), (1_000, 100));
}

#[test]
fn what_is_held_is_free_when_it_expires() {
    let desk = Desk::open();
    let watch = json!({"attributes": {"user": "u", "operation": "watch"}, "reserve": true, "expires_s": 5});
    let first = reserve(&desk, &watch);
    reserve(&desk, &watch);
    assert!(!desk.ruling(&watch).allowed);
    desk.clock.advance(Duration::from_micros(4_999_999));
    assert!(!desk.ruling(&watch).allowed);
    desk.clock.advance(Duration::from_micros(1));
    reserve(&desk, &watch);
    assert_eq!(close(&desk, "settle", &json!({"reservation": first})).0, 404);
}

#[test]
fn batches_are_reserved_and_closed_each_alone() {
    let desk = Desk::open();
    let reply = desk.client().post("/v1/check", &json!([chat(), {"attributes": {}}, chat(), chat()]).to_string());
    let answers: Vec<Value> = serde_json::from_str(&reply.body).expect(&reply.body);
    let ids: Vec<&Value> = answers.iter().map(|answer| &answer["reservation"]).collect();
    assert!(ids[0].is_string() && ids[1].is_null() && ids[2].is_string(), "{}", reply.body);
    assert!(ids[3].is_null() && answers[3]["allowed"] == false, "the fourth is refused: {}", reply.body);
    let asked = json!([
        {"reservation": ids[0], "cost": {"tokens": 1}},
        {"reservation": "00000000000000000000000000000000"},
        {"reservation": ids[2], "cost": {"tokns": 1}},
        {"reservation": ids[2], "cost": {"tokens": 2}},
    ]);
    let (status, closed) = close(&desk, "settle", &asked);
    assert_eq!(status, 200);
    assert_eq!((&closed[0]["settled"], &closed[3]["settled"]), (&json!(true), &json!(true)), "{closed}");
    assert_eq!(closed[1]["error"]["message"], "no such reservation is open");
    assert_eq!(closed[2]["error"]["place"], "cost.tokns");
    assert_eq!(left(&desk, "tokens-day"), 997);
}

#[test]
fn mistakes_are_told_by_their_place_and_charge_nothing() {
    let desk = Desk::open();
    let with = |more: Value| {
        let mut question = json!({"attributes": {"app": "a"}});
        question.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        question
    };
    let rows = [
        ("check", with(json!({"reserve": true, "peek": true})), "reserve"),
        ("check", with(json!({"expires_s": 5})), "expires_s"),
        ("check", with(json!({"reserve": true, "expires_s": 0})), "expires_s"),
        ("check", with(json!({"reserve": true, "expires_s": 3601})), "expires_s"),
        ("check", with(json!({"reserve": true, "expires_s": 1.5})), "expires_s"),
        ("check", with(json!({"reserve": 1})), "reserve"),
        ("settle", json!({}), "reservation"),
        ("settle", json!({"reservation": 1}), "reservation"),
        ("settle", json!({"reservation": "x", "cost": {"tokens": -1}}), "cost.tokens"),
        ("settle", json!([{"reservation": "x"}, {"cost": 1}]), "[1].reservation"),
        ("release", json!({"reservation": "x", "cost": {}}), "cost"),
        ("release", json!("x"), ""),
    ];
    for (path, body, place) in rows {
        let reply = desk.client().post(&format!("/v1/{path}"), &body.to_string());
        assert_eq!(reply.status, 400, "{body}: {}", reply.body);
        assert_eq!(reply.mistake().error.place.unwrap_or_default(), place, "{body}");
    }
    assert_eq!(left(&desk, "app-minute"), 100);
}
