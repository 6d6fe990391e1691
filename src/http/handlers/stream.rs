//! The live stream of a schedule's seats, as server-sent events (WHATWG HTML, "Server-sent events").

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::Arc;

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use futures_util::stream;
use tokio::sync::broadcast::error::RecvError;

use crate::domain::ids::{InHistory, ScheduleId, SeatNumber};
use crate::http::Services;
use crate::http::problem::{Code, Problem, ProblemBody};
use crate::http::query::Query;
use crate::http::reply;
use crate::http::responses::CountsBody;
use crate::http::version::{AtLeast, version_seen};
use crate::seat_map::{LastSeen, Listener, ListenerSlot, NoStream, SeatStates, StreamEvent};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::stream::StreamEnd;

use super::seats::write_availability;
use super::{in_time, path_id, schedule};

/// What the client has seen last (a browser sends it by itself when it comes back).
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Tells nginx to pass events on as they come.
const NO_BUFFERING: (&str, &str) = ("x-accel-buffering", "no");

/// The shortest and the longest time after which a client should come back, in milliseconds: spread, so
/// that the listeners of a process that stopped do not all ask at once.
const RETRY_MS: std::ops::Range<u32> = 500..3_000;

/// Sent where a comment is due.
const SIGN_OF_LIFE: &[u8] = b":\n\n";

/// The seats of a schedule as they change. `snapshot` has the states of all seats, `delta` those that have
/// changed as `{"c":[[number,state],…]}`, `counts` how many seats are in each state, `bye` the reason why the
/// stream ends. The id of an event is the version that the map is at with it,
/// behind the name of the database's history: `5ea71ock.17`.
#[utoipa::path(get, path = "/api/v1/schedules/{id}/stream", tag = "map",
    params(("id" = String, Path), ("min_version" = Option<i64>, Query),
        ("Last-Event-ID" = Option<String>, Header, description = "go on after this event; of another history, it begins anew with a snapshot")),
    responses((status = 200, description = "events", content_type = "text/event-stream", body = String),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn listen(
    services: Data<Services>,
    request: HttpRequest,
    _: Query<AtLeast>,
) -> Result<HttpResponse, Problem> {
    let id: ScheduleId = path_id(&request, "id", "schedule")?;
    let (last, at_least) = (last_event_id(&request)?, version_seen(&request)?);
    let loaded = schedule(&services, id).await?;
    if request.method() == Method::HEAD {
        return Ok(head());
    }
    let listening = async { Ok(services.streams.listen(&loaded, last, at_least).await) };
    let (listener, place, stale) = in_time(&services, listening).await?.map_err(no_stream)?;
    let events = Events::begin(listener, place, last.is_some(), &services.metrics);
    let events = stream::unfold(events, |mut events| async {
        events.next().await.map(|frame| (Ok::<_, actix_web::Error>(frame), events))
    });
    Ok(reply::aged(self::events().streaming(events), stale))
}

/// A response of events, which are still to come.
pub(super) fn events() -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_TYPE, "text/event-stream"));
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    response.insert_header(NO_BUFFERING);
    // Nothing comes after a stream on its connection.
    response.force_close();
    response
}

/// The answer to HEAD for a stream: its headers. No stream is opened, since nothing would be sent of it.
pub(super) fn head() -> HttpResponse {
    events().streaming(stream::empty::<Result<Bytes, actix_web::Error>>())
}

/// What the client has seen last. Ids were plain versions once: those say nothing of their history.
fn last_event_id(request: &HttpRequest) -> Result<Option<LastSeen>, Problem> {
    let Some(value) = request.headers().get(LAST_EVENT_ID) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    let place = text.parse::<InHistory<i64>>();
    let place = place.map(|place| LastSeen { history: Some(place.history), version: place.at });
    let last = place.ok().or_else(|| Some(LastSeen { history: None, version: text.parse().ok()? }));
    let wrong = || Problem::parameter("Last-Event-ID", "must be the id of an event of this stream");
    last.map(Some).ok_or_else(wrong)
}

fn no_stream(error: NoStream) -> Problem {
    match error {
        NoStream::Closed => Problem::new(Code::Draining, error.to_string()),
        NoStream::Full => Problem::new(Code::Overloaded, error.to_string()),
        NoStream::Failed(error) => error.into(),
    }
}

/// The events of one listener.
struct Events {
    ready: VecDeque<Bytes>,
    /// Until the stream has said goodbye.
    listener: Option<Listener>,
    end: StreamEnd,
    metrics: Arc<Metrics>,
    _place: ListenerSlot,
}

impl Events {
    fn begin(
        listener: Listener,
        place: ListenerSlot,
        resumed: bool,
        metrics: &Arc<Metrics>,
    ) -> Self {
        if resumed {
            metrics.stream.resumed_total.inc();
        }
        let retry = Bytes::from(format!("retry: {}\n\n", fastrand::u32(RETRY_MS)));
        let opening = listener.opening.frame(write);
        Self {
            ready: VecDeque::from([retry, opening]),
            listener: Some(listener),
            end: StreamEnd::Gone,
            metrics: Arc::clone(metrics),
            _place: place,
        }
    }

    /// The next bytes to send; `None` after the goodbye.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(frame) = self.ready.pop_front() {
            return Some(frame);
        }
        let listener = self.listener.as_mut()?;
        match listener.updates.recv().await {
            Ok(update) => {
                if matches!(update.news, StreamEvent::Bye) {
                    self.end = StreamEnd::Draining;
                    self.listener = None;
                }
                Some(update.frame(write))
            }
            Err(error) => {
                self.end = match error {
                    RecvError::Lagged(_) => StreamEnd::Slow,
                    RecvError::Closed => StreamEnd::Draining,
                };
                self.listener = None;
                Some(Bytes::from(bye(self.end)))
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.metrics.stream.ended(self.end);
    }
}

fn write(news: &StreamEvent) -> Vec<u8> {
    match news {
        StreamEvent::Snapshot(states) => event("snapshot", states, &write_availability(states)),
        StreamEvent::Changes(seats, states) => {
            let mut frame = if seats.is_empty() {
                Vec::new()
            } else {
                event("delta", states, &delta(seats, states))
            };
            let counts = serde_json::to_vec(&CountsBody::from(states.counts)).unwrap_or_default();
            frame.extend(event("counts", states, &counts));
            frame
        }
        StreamEvent::SignOfLife => SIGN_OF_LIFE.to_vec(),
        StreamEvent::Bye => bye(StreamEnd::Draining),
    }
}

fn event(name: &str, states: &SeatStates, data: &[u8]) -> Vec<u8> {
    let mut frame = format!("event: {name}\nid: {}\ndata: ", states.at()).into_bytes();
    frame.extend_from_slice(data);
    frame.extend_from_slice(b"\n\n");
    frame
}

fn delta(seats: &[SeatNumber], states: &SeatStates) -> Vec<u8> {
    let mut data = b"{\"c\":[".to_vec();
    for (place, seat) in seats.iter().enumerate() {
        let code = states.codes.get(seat.0 as usize).copied().unwrap_or_default();
        let comma = if place == 0 { "" } else { "," };
        // Writing to memory does not fail.
        drop(write!(data, "{comma}[{},{code}]", seat.0));
    }
    data.extend_from_slice(b"]}");
    data
}

/// A goodbye has no id: the client goes on after the last change it was told.
fn bye(end: StreamEnd) -> Vec<u8> {
    format!("event: bye\ndata: {{\"reason\":\"{}\"}}\n\n", end.as_ref()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::HistoryId;

    fn states() -> Arc<SeatStates> {
        Arc::new(SeatStates::new(
            InHistory { history: HistoryId::TEST, at: 7 },
            vec![0, 1, 2, 3, 2],
        ))
    }

    fn text(news: &StreamEvent) -> String {
        String::from_utf8(write(news)).unwrap()
    }

    #[test]
    fn a_snapshot_is_what_availability_answers() {
        let text = text(&StreamEvent::Snapshot(states()));
        let data = String::from_utf8(write_availability(&states())).unwrap();
        assert_eq!(text, format!("event: snapshot\nid: 5ea71ock.7\ndata: {data}\n\n"));
    }

    #[test]
    fn changes_are_the_states_of_the_seats_now_and_the_counts() {
        let changed = vec![SeatNumber(1), SeatNumber(4)];
        assert_eq!(
            text(&StreamEvent::Changes(changed, states())),
            "event: delta\nid: 5ea71ock.7\ndata: {\"c\":[[1,1],[4,2]]}\n\n\
             event: counts\nid: 5ea71ock.7\ndata: \
             {\"available\":1,\"held\":1,\"booked\":2,\"blocked\":1}\n\n"
        );
        let nothing = text(&StreamEvent::Changes(Vec::new(), states()));
        assert!(nothing.starts_with("event: counts\nid: 5ea71ock.7\n"), "{nothing}");
    }

    #[test]
    fn a_goodbye_says_why_and_moves_no_id() {
        assert_eq!(text(&StreamEvent::Bye), "event: bye\ndata: {\"reason\":\"draining\"}\n\n");
        assert_eq!(text(&StreamEvent::SignOfLife), ":\n\n");
    }
}
