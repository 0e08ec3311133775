//! Asks a running server to explain, so that the real state of its counters is told.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HOST};
use http::{Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tidegate_server::explain::Explanation;
use tidegate_server::http::wire::Mistake;
use tokio::net::TcpStream;

use crate::failure::Failure;

/// Longest answer in bytes: of a policy with the most limits, each with the longest reasons.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// How long a server may take. It answers in a millisecond; the largest policy in a second.
const DEADLINE: Duration = Duration::from_secs(30);

/// What the server at `url` answers to a question.
pub(super) fn explanation(url: &Uri, question: &str) -> Result<Explanation, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::because("cannot ask a server", &error))?;
    let answer = runtime.block_on(async { tokio::time::timeout(DEADLINE, ask(url, question)).await });
    let (status, body) = answer.map_err(|_| Failure::new(format!("{url} does not answer")))??;
    let unread = |error| Failure::because(format!("{url} answered something else than an explanation"), &error);
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(unread);
    }
    let mistake: Mistake = serde_json::from_slice(&body).map_err(unread)?;
    let place = mistake.error.place.map(|place| format!("{place}: ")).unwrap_or_default();
    let failure = Failure::new(format!("{url} answered {status}: {place}{}", mistake.error.message));
    Err(match mistake.error.help {
        Some(help) => failure.help(help),
        None => failure,
    })
}

async fn ask(url: &Uri, question: &str) -> Result<(http::StatusCode, Vec<u8>), Failure> {
    let usage =
        || Failure::new(format!("`{url}` is not http://HOST[:PORT]")).help("give the address of the control port");
    let authority = url.authority().filter(|_| url.scheme_str() == Some("http")).ok_or_else(usage)?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let failed = |error: &dyn std::error::Error| Failure::because(format!("cannot ask {url}"), error);
    let stream =
        TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await.map_err(|error| failed(&error))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| failed(&error))?;
    tokio::spawn(connection);
    let request =
        Request::post("/v1/explain").header(HOST, authority.as_str()).header(CONTENT_TYPE, "application/json");
    let request = request.body(Full::new(bytes::Bytes::from(question.to_owned()))).map_err(|error| failed(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await.map_err(|error| failed(&*error))?;
    Ok((status, body.to_bytes().to_vec()))
}
