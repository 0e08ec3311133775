//! `docs/http-api.md`: its transcripts are run, in its order, on a clock that stands still.

use tidegate_limiter::MemoryOptions;
use tidegate_server::Api;

use super::desk::Desk;

/// One request and its answer.
#[derive(Default)]
struct Exchange {
    request: Vec<String>,
    answer: Vec<String>,
}

fn exchanges(page: &str) -> Vec<Exchange> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    let mut is_transcript = false;
    for line in page.lines() {
        if let Some(kind) = line.strip_prefix("```") {
            is_transcript = kind == "transcript";
        } else if let (true, Some(sent)) = (is_transcript, line.strip_prefix("> ")) {
            if exchanges.last().is_none_or(|last| !last.answer.is_empty()) {
                exchanges.push(Exchange::default());
            }
            exchanges.last_mut().expect("it was pushed").request.push(sent.to_owned());
        } else if let (true, Some(received)) = (is_transcript, line.strip_prefix("< ")) {
            exchanges.last_mut().expect("a request comes first").answer.push(received.to_owned());
        }
    }
    exchanges
}

#[test]
fn the_pages_transcripts_are_true() {
    let page = include_str!("../../../../../docs/http-api.md");
    let exchanges = exchanges(page);
    assert!(exchanges.len() >= 8, "{} transcripts", exchanges.len());
    let desk = Desk::on(Api::vendor("whatsapp").expect("it ships"), MemoryOptions::default());
    for exchange in exchanges {
        let (method, target) = exchange.request[0].split_once(' ').expect("a method and a target");
        let reply = match method {
            "POST" => desk.client().post(target, &exchange.request[1]),
            // A policy of several lines is one line on the page.
            "PUT" => desk.client().put(target, &exchange.request[1].replace("\\n", "\n")),
            _ => desk.client().get(target),
        };
        assert_eq!(
            [reply.status.to_string(), reply.body],
            exchange.answer.as_slice(),
            "{}",
            exchange.request.join("\n")
        );
    }
}

/// Every metric is on the page, and every one on the page is there.
#[test]
fn the_pages_metrics_are_those_there_are() {
    let page = include_str!("../../../../../docs/http-api.md");
    let desk = Desk::open();
    let scraped = desk.client().get("/metrics").body;
    let mut names: Vec<&str> = scraped.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    names = names.iter().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.len() >= 7, "{names:?}");
    for name in &names {
        assert!(page.contains(&format!("`{name}")), "{name} is not on the page");
    }
    let on_page = page.split('`').filter(|word| word.starts_with("tidegate_"));
    for word in on_page {
        assert!(names.contains(&word.strip_suffix("_total").unwrap_or(word)), "{word} is on the page only");
    }
}
