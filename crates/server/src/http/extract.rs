//! From a body or a query to questions, or to what is wrong with it and where.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{Request, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use tidegate_core::{Policy, Purpose, Span};
use tidegate_policy::question::{BadQuestion, Json, Question, instead};

use super::bounds::{DEFAULT_EXPIRY, MAX_BATCH, MAX_BODY_BYTES, MAX_EXPIRY, MIN_EXPIRY};
use super::respond::Problem;
use crate::{Api, Book};

/// One question, or several in one body.
pub(super) enum Questions<'q> {
    One(Ask<'q>),
    Batch(Vec<Ask<'q>>),
}

/// One question of `/v1/check`.
pub(super) struct Ask<'q> {
    pub(super) api: &'q Api,
    pub(super) question: Question<'q>,
    pub(super) purpose: Purpose,
    /// When a reservation expires, if one is asked for.
    pub(super) reserve: Option<Span>,
}

/// The members of a question.
pub(super) const MEMBERS: [&str; 6] = ["policy", "attributes", "cost", "peek", "reserve", "expires_s"];

/// The body of a request, bounded.
pub(super) async fn body<B: Body<Data = Bytes> + Unpin>(request: Request<B>) -> Result<Bytes, Problem> {
    // What announces to be too long is not waited for.
    if request.body().size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(too_large());
    }
    let mut body = request.into_body();
    // Most bodies come in one piece, which is not copied.
    let Some(first) = piece(&mut body).await? else { return Ok(Bytes::new()) };
    if first.len() > MAX_BODY_BYTES {
        return Err(too_large());
    }
    if body.is_end_stream() {
        return Ok(first);
    }
    let Some(second) = piece(&mut body).await? else { return Ok(first) };
    let mut whole = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(piece_of_it) = next {
        if whole.len() + piece_of_it.len() > MAX_BODY_BYTES {
            return Err(too_large());
        }
        whole.extend_from_slice(&piece_of_it);
        next = piece(&mut body).await?;
    }
    Ok(whole.freeze())
}

/// The next piece of a body; trailers are none.
async fn piece<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Result<Option<Bytes>, Problem> {
    while let Some(frame) = body.frame().await {
        let broken = |_| Problem::new(StatusCode::BAD_REQUEST, "the body broke off").at("body");
        if let Ok(data) = frame.map_err(broken)?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

fn too_large() -> Problem {
    let message = format!("the body is larger than {MAX_BODY_BYTES} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message).at("body").help("ask in several requests")
}

/// The questions that a body asks of the policies in `book`.
pub(super) fn questions<'q>(book: &'q Book, body: &'q [u8]) -> Result<Questions<'q>, Problem> {
    if body.trim_ascii().is_empty() {
        let problem = Problem::new(StatusCode::BAD_REQUEST, "the body is empty").at("body");
        return Err(problem.help("send {\"attributes\":{…}} or an array of such"));
    }
    let json = Json::parse(body)?;
    if !json.is_array() {
        return Ok(Questions::One(ask(book, json)?));
    }
    let mut asks = Vec::new();
    for (index, item) in json.items(MAX_BATCH)?.into_iter().enumerate() {
        asks.push(ask(book, item).map_err(|bad| bad.inside_item(index))?);
    }
    Ok(Questions::Batch(asks))
}

fn ask<'q>(book: &'q Book, json: Json<'q>) -> Result<Ask<'q>, BadQuestion> {
    let [name, attributes, cost, peek, reserve, expires] = json.known_members(MEMBERS)?;
    let name = name.map(Json::string).transpose().map_err(|bad| bad.inside("policy"))?;
    let api = served(book, name.as_deref()).map_err(|bad| bad.inside("policy"))?;
    if attributes.is_none() {
        let bad = BadQuestion::new("missing").help("a question has attributes, if only an empty object");
        return Err(bad.inside("attributes"));
    }
    let question = Question::read(&api.policy, attributes, cost)?;
    let is_peek = peek.map_or(Ok(false), Json::boolean).map_err(|bad| bad.inside("peek"))?;
    let reserve = reserve.map_or(Ok(false), Json::boolean).map_err(|bad| bad.inside("reserve"))?;
    let expires = expires.map(read_expiry).transpose().map_err(|bad| bad.inside("expires_s"))?;
    let purpose = match (is_peek, reserve) {
        (true, true) => {
            let bad = BadQuestion::new("a peek charges nothing that could be reserved");
            return Err(bad.help("leave `peek` or `reserve` out").inside("reserve"));
        }
        (true, false) => Purpose::Peek,
        (false, true) => Purpose::Hold,
        (false, false) => Purpose::Once,
    };
    if let (Some(_), false) = (expires, reserve) {
        return Err(BadQuestion::new("nothing is reserved that could expire")
            .help("add `\"reserve\":true`")
            .inside("expires_s"));
    }
    let reserve = reserve.then(|| expires.unwrap_or(DEFAULT_EXPIRY));
    Ok(Ask { api, question, purpose, reserve })
}

/// Whole seconds within the bounds of an expiry.
fn read_expiry(json: Json<'_>) -> Result<Span, BadQuestion> {
    let span = Span::from_secs(json.amount()?.min(1 << 32));
    if (MIN_EXPIRY..=MAX_EXPIRY).contains(&span) {
        return Ok(span);
    }
    let (least, most) = (MIN_EXPIRY.as_secs_ceil(), MAX_EXPIRY.as_secs_ceil());
    Err(BadQuestion::new(format!("expected {least} to {most} seconds, found {}", json.text())))
}

/// The API that a question is put to: the one it names, or the only one.
pub(super) fn served<'b>(book: &'b Book, name: Option<&str>) -> Result<&'b Arc<Api>, BadQuestion> {
    let Some(name) = name else {
        return book.only().ok_or_else(|| {
            BadQuestion::new("missing").help(format!("several policies are served; say which: {}", book.names()))
        });
    };
    book.named(name).ok_or_else(|| {
        let known = book.apis().iter().map(|api| api.policy.name());
        BadQuestion::new("no policy of this name is served").help(instead(name, known))
    })
}

/// The API that a query names by `policy`, or the only one.
pub(super) fn served_by_query<'b>(book: &'b Book, query: &str) -> Result<&'b Arc<Api>, Problem> {
    let place = |bad: BadQuestion| bad.inside("policy");
    let mut named = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "policy");
    let name = named.next().map(|(_, name)| name);
    if named.next().is_some() {
        return Err(place(BadQuestion::new("is given twice")).into());
    }
    Ok(served(book, name.as_deref()).map_err(place)?)
}

/// The attributes that a query names; `policy` names none.
pub(super) fn query<'q>(policy: &'q Policy, query: &'q str) -> Result<Question<'q>, Problem> {
    let mut question = Question::on(policy);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let place = |bad: BadQuestion| bad.inside(&name);
        if name == "policy" {
            continue;
        }
        if policy.attribute(&name).is_none() {
            let known = ["policy"].into_iter().chain(policy.attribute_names());
            return Err(place(BadQuestion::new("unknown parameter").help(instead(&name, known))).into());
        } else {
            question.set(&name, value).map_err(place)?;
        }
    }
    Ok(question)
}

/// A query that is text in no encoding is refused rather than repaired: a repaired value would be another key.
pub(super) fn is_plain(query: &str) -> bool {
    let decoded: Cow<'_, [u8]> = percent_encoding::percent_decode_str(query).into();
    std::str::from_utf8(&decoded).is_ok()
}
