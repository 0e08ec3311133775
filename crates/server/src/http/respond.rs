//! Answers of the control port, all of them JSON unless somebody else fixed the form. None may be cached (H9).

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use tidegate_policy::question::BadQuestion;

use super::answer::{member, string};

/// Why a question was not answered.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) place: String,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Problem {
        Problem { status, place: String::new(), message: message.into(), help: None }
    }

    pub(super) fn at(mut self, place: impl Into<String>) -> Problem {
        self.place = place.into();
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }

    /// `{"error":{"message":…,"place":…,"help":…}}`; place and help are left out where there is none.
    pub(super) fn answer(&self) -> Response<String> {
        json(self.status, self.text())
    }

    /// Its text.
    pub(super) fn text(&self) -> String {
        let mut text = String::from("{\"error\":{\"message\":");
        string(&self.message, &mut text);
        let place = Some(&self.place).filter(|place| !place.is_empty());
        for (name, value) in [("place", place), ("help", self.help.as_ref())] {
            if let Some(value) = value {
                text.push(',');
                member(name, value, &mut text);
            }
        }
        text.push_str("}}");
        text
    }
}

impl From<BadQuestion> for Problem {
    fn from(bad: BadQuestion) -> Problem {
        Problem { status: StatusCode::BAD_REQUEST, place: bad.place, message: bad.message, help: bad.help }
    }
}

/// What was asked for, or why not.
pub(super) fn either(result: Result<String, Problem>) -> Response<String> {
    match result {
        Ok(text) => json(StatusCode::OK, text),
        Err(problem) => problem.answer(),
    }
}

/// A value of the wire as JSON.
pub(super) fn written(value: &impl serde::Serialize) -> String {
    // Strings, numbers and lists of them always have a JSON text.
    serde_json::to_string(value).unwrap_or_default()
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, text: String) -> Response<String> {
    typed(status, "application/json", text)
}

/// An answer of another media type.
pub(super) fn typed(status: StatusCode, media_type: &'static str, text: String) -> Response<String> {
    let mut answer = Response::new(text);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// The answer to a method that a route does not have.
pub(super) fn method_not_allowed(allowed: &'static str) -> Response<String> {
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("only {allowed} is answered here")).at("method");
    let mut answer = problem.answer();
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}
