//! Responses that state a cost: how their bytes are cut makes no difference, and what is found is what a JSON reader
//! finds.

use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use tidegate_core::OperationId;
use tidegate_policy::ResponseMeter;

use crate::api::reader;

/// The first byte says the type, the second how the rest is cut.
pub fn meter(data: &[u8]) {
    let api = reader();
    let [form, cut, body @ ..] = data else { return };
    let types = ["application/json", "text/event-stream", "application/problem+json; charset=utf-8"];
    let is_stream = usize::from(form.wrapping_sub(b'0')) % types.len() == 1;
    let mut headers = HeaderMap::new();
    headers.append(CONTENT_TYPE, HeaderValue::from_static(types[usize::from(form.wrapping_sub(b'0')) % types.len()]));
    let chat = api.policy.operation_named("chat").expect("an operation of the policy");
    let whole = fed(chat, &headers, body, body.len().max(1));
    let cut = fed(chat, &headers, body, usize::from(*cut).max(1));
    assert_eq!(whole, cut, "how the bytes are cut matters");
    let bytewise = if body.len() < 512 { fed(chat, &headers, body, 1) } else { whole.clone() };
    assert_eq!(whole, bytewise, "how the bytes are cut matters");
    if let (Some(costs), false) = (&whole.0, is_stream) {
        // Text that is no UTF-8, in a string that nobody looks at, does not end an answer: it is the upstream's to send.
        match serde_json::from_str(&String::from_utf8_lossy(body)) {
            Ok(tree) => {
                let read = api.intake.settled_costs(chat, &HeaderMap::new(), Some(&tree));
                assert_eq!(*costs, read, "another cost than a JSON reader finds");
            }
            // A number that no float can hold is a JSON number all the same.
            Err(error) => {
                assert!(error.to_string().starts_with("number out of range"), "what has a cost is JSON: {error}")
            }
        }
    }
    for (unit, amount) in whole.0.iter().flatten() {
        assert!(
            ["tokens", "words"].contains(&api.policy.unit_name(*unit)) && *amount <= tidegate_core::bounds::MAX_AMOUNT
        );
    }
}

type Found = (Option<Vec<(tidegate_core::UnitId, u64)>>, String);

fn fed(operation: OperationId, headers: &HeaderMap, body: &[u8], size: usize) -> Found {
    let mut meter: ResponseMeter = reader().intake.response_meter(operation, headers).expect("a type that is metered");
    body.chunks(size).for_each(|piece| meter.feed(piece));
    let costs = meter.finish();
    (costs, format!("{:?}", meter.problem()))
}
