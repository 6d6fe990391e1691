//! Server-sent events (WHATWG HTML, "Server-sent events").

use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{HttpResponse, HttpResponseBuilder};
use futures_util::stream;

/// A comment that keeps the connection open.
pub(super) const KEEP_ALIVE: &[u8] = b":\n\n";

/// Makes nginx forward events without buffering.
const NO_BUFFERING: (&str, &str) = ("x-accel-buffering", "no");

/// Writes an event. An event without an id does not change the last id that the client stores.
pub(super) fn sse_event(name: &str, id: Option<&str>, data: &[u8]) -> Vec<u8> {
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    [format!("event: {name}\n{id}data: ").as_bytes(), data, b"\n\n"].concat()
}

/// Writes the last event of a stream. It has no id, so that the client resumes after the last change that it has seen.
pub(super) fn bye(reason: &str) -> Vec<u8> {
    sse_event("bye", None, format!("{{\"reason\":\"{reason}\"}}").as_bytes())
}

/// The head of a stream; the caller adds the events.
pub(super) fn response() -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_TYPE, "text/event-stream"));
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    response.insert_header(NO_BUFFERING);
    // A connection is not reused after a stream.
    response.force_close();
    response
}

/// The response to HEAD: headers only. No stream is opened, because its events would not be sent.
pub(super) fn head() -> HttpResponse {
    response().streaming(stream::empty::<Result<Bytes, actix_web::Error>>())
}
