//! The built-in upstream: it answers with what it received, so that a policy can be tried without an API behind it.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response};
use http_body_util::BodyExt;

use super::body::{Download, Upload};
use super::fault::Fault;

/// What it is called in `Host`.
pub(super) const AUTHORITY: &str = "echo.internal";

/// Bytes of a body that are shown; a longer one is counted to its end.
const MAX_SHOWN_BYTES: usize = 64 * 1024;

/// Answers a request with its method, path, query, headers and body.
pub(super) async fn answer(
    method: &Method,
    target: &str,
    headers: &HeaderMap,
    upload: Upload,
) -> Result<Response<Download>, Fault> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let (length, shown) = read(upload).await?;
    let mut shown_headers = serde_json::Map::new();
    for name in headers.keys() {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        shown_headers.insert(name.as_str().to_owned(), values.join(", ").into());
    }
    let body = serde_json::json!({
        "method": method.as_str(),
        "path": path,
        "query": query,
        "headers": shown_headers,
        "body_bytes": length,
        "body": String::from_utf8_lossy(&shown),
    });
    let mut response = Response::new(Download::local(Some(Bytes::from(body.to_string()))));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// A body's length, and its beginning.
async fn read(mut upload: Upload) -> Result<(u64, Vec<u8>), Fault> {
    let (mut length, mut shown) = (0, Vec::new());
    while let Some(frame) = upload.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        length += data.len() as u64;
        let room = MAX_SHOWN_BYTES - shown.len();
        shown.extend_from_slice(&data[..data.len().min(room)]);
    }
    Ok((length, shown))
}
