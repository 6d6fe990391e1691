//! The live stream of a schedule's seats, as server-sent events.

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::HeaderName;
use actix_web::web::Bytes;
use futures_util::stream;
use tokio::sync::broadcast::error::RecvError;

use crate::domain::ids::SeatNumber;
use crate::http::problem::{Code, Problem};
use crate::http::request::{ApiRequest, HttpResult};
use crate::http::responses::CountsBody;
use crate::http::schemas::SeatsEvent;
use crate::http::sse::{self, sse_event};
use crate::http::version::{self, MinVersion};
use crate::http::{json, reply};
use crate::seat_map::{LastSeen, ListenError, Listener, ListenerSlot, SeatStates, StreamEvent};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::stream::StreamEnd;

use super::seats::write_availability;

/// The last event that the client has seen; a browser sends it when it reconnects.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The milliseconds after which a client reconnects. The value is random, so that the listeners of a process that
/// stopped do not all reconnect at the same time.
const RETRY_MS: std::ops::Range<u32> = 500..3_000;

/// The seats of a schedule as they change. `snapshot` has the states of all seats, `delta` those that have changed as
/// `{"c":[[number,state],…],"plan_version":1}`, `counts` the number of seats in each state, `bye` the reason why the stream ends. The id
/// of an event is the version of the map after the event, preceded by the name of the history of the database:
/// `5ea71ock.17`.
#[utoipa::path(operation_id = "stream_seats", get, path = "/api/v1/schedules/{id}/stream", tag = "map",
    params(("id" = String, Path), ("min_version" = Option<i64>, Query),
        ("Last-Event-ID" = Option<String>, Header, description = "Resume after this event; an event of another history starts the stream again with a snapshot.")),
    responses((status = 200, description = "events", content_type = "text/event-stream", body = SeatsEvent)))]
pub async fn listen(api: ApiRequest<MinVersion>) -> HttpResult {
    let last = last_event_id(&api.request)?;
    let loaded = api.schedule(api.path_id("id", "schedule")?).await?;
    if api.request.method() == Method::HEAD {
        return Ok(sse::head());
    }
    let listening = async { Ok(api.services.streams.listen(&loaded, last, api.query.0).await) };
    let (listener, slot, stale) = api.in_time(listening).await?.map_err(no_stream)?;
    let metrics = &api.services.metrics;
    let plan_version = loaded.schedule.plan.version;
    if last.is_some() {
        metrics.stream.resumed_total.inc();
    }
    let events =
        stream::unfold(Events::new(listener, slot, plan_version, metrics), |mut events| async {
            events.next().await.map(|frame| (Ok::<_, actix_web::Error>(frame), events))
        });
    Ok(reply::with_age(sse::response().streaming(events), stale))
}

/// The last event that the client has seen. Older clients send plain versions, without the history.
fn last_event_id(request: &HttpRequest) -> Result<Option<LastSeen>, Problem> {
    let Some(value) = request.headers().get(LAST_EVENT_ID) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    let parse = || {
        let (history, version) = match text.split_once('.') {
            Some((history, version)) => (Some(history.parse().ok()?), version),
            None => (None, text),
        };
        Some(LastSeen { history, version: version::parse(version)? })
    };
    let wrong = || Problem::parameter("Last-Event-ID", "must be the id of an event of this stream");
    parse().map(Some).ok_or_else(wrong)
}

fn no_stream(error: ListenError) -> Problem {
    match error {
        ListenError::Closed => Problem::new(Code::Draining, error.to_string()),
        ListenError::Full => Problem::new(Code::Overloaded, error.to_string()),
        ListenError::Failed(error) => error.into(),
    }
}

/// The events of one listener.
struct Events {
    ready: VecDeque<Bytes>,
    /// `None` once the stream has sent its last event.
    listener: Option<Listener>,
    plan_version: i32,
    end: StreamEnd,
    metrics: Arc<Metrics>,
    _slot: ListenerSlot,
}

impl Events {
    fn new(
        listener: Listener,
        slot: ListenerSlot,
        plan_version: i32,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let retry = Bytes::from(format!("retry: {}\n\n", fastrand::u32(RETRY_MS)));
        let opening = listener.opening.frame(|event| write(event, plan_version));
        Self {
            ready: VecDeque::from([retry, opening]),
            listener: Some(listener),
            plan_version,
            end: StreamEnd::Gone,
            metrics: Arc::clone(metrics),
            _slot: slot,
        }
    }

    /// The next bytes to send; `None` after the last event.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(frame) = self.ready.pop_front() {
            return Some(frame);
        }
        let plan_version = self.plan_version;
        let write = |event: &StreamEvent| write(event, plan_version);
        let frame = match self.listener.as_mut()?.updates.recv().await {
            Ok(update) if !matches!(update.event, StreamEvent::Closing) => {
                return Some(update.frame(write));
            }
            Ok(bye) => {
                self.end = StreamEnd::Draining;
                bye.frame(write)
            }
            Err(error) => {
                self.end = match error {
                    RecvError::Lagged(_) => StreamEnd::Slow,
                    RecvError::Closed => StreamEnd::Draining,
                };
                Bytes::from(sse::bye(self.end.as_ref()))
            }
        };
        self.listener = None;
        Some(frame)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.metrics.stream.ended(self.end);
    }
}

fn write(event: &StreamEvent, plan_version: i32) -> Vec<u8> {
    let with_id = |name, states: &SeatStates, data: &[u8]| {
        sse_event(name, Some(&states.at().to_string()), data)
    };
    match event {
        StreamEvent::Snapshot(states) => {
            with_id("snapshot", states, &write_availability(states, plan_version))
        }
        StreamEvent::Changes(seats, states) => {
            let counts = json::write(&CountsBody::from(states.counts));
            let counts = with_id("counts", states, counts.as_bytes());
            if seats.is_empty() {
                return counts;
            }
            [with_id("delta", states, &delta(seats, states, plan_version)), counts].concat()
        }
        StreamEvent::KeepAlive => sse::KEEP_ALIVE.to_vec(),
        StreamEvent::Closing => sse::bye(StreamEnd::Draining.as_ref()),
    }
}

fn delta(seats: &[SeatNumber], states: &SeatStates, plan_version: i32) -> Vec<u8> {
    let mut data = b"{\"c\":[".to_vec();
    for (index, seat) in seats.iter().enumerate() {
        let code = states.codes.get(seat.0 as usize).copied().unwrap_or_default();
        let comma = if index == 0 { "" } else { "," };
        // Writing to memory does not fail.
        drop(write!(data, "{comma}[{},{code}]", seat.0));
    }
    drop(write!(data, "],\"plan_version\":{plan_version}}}"));
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{HistoryId, InHistory};

    fn states() -> Arc<SeatStates> {
        Arc::new(SeatStates::new(
            InHistory { history: HistoryId::TEST, at: 7 },
            vec![0, 1, 2, 3, 2],
        ))
    }

    fn text(event: &StreamEvent) -> String {
        String::from_utf8(write(event, 3)).unwrap()
    }

    #[test]
    fn a_snapshot_is_what_availability_answers() {
        let text = text(&StreamEvent::Snapshot(states()));
        let data = String::from_utf8(write_availability(&states(), 3)).unwrap();
        assert_eq!(text, format!("event: snapshot\nid: 5ea71ock.7\ndata: {data}\n\n"));
    }

    #[test]
    fn changes_are_the_states_of_the_seats_now_and_the_counts() {
        let changed = vec![SeatNumber(1), SeatNumber(4)];
        assert_eq!(
            text(&StreamEvent::Changes(changed, states())),
            "event: delta\nid: 5ea71ock.7\ndata: {\"c\":[[1,1],[4,2]],\"plan_version\":3}\n\n\
             event: counts\nid: 5ea71ock.7\ndata: \
             {\"available\":1,\"held\":1,\"booked\":2,\"blocked\":1}\n\n"
        );
        let nothing = text(&StreamEvent::Changes(Vec::new(), states()));
        assert!(nothing.starts_with("event: counts\nid: 5ea71ock.7\n"), "{nothing}");
    }

    #[test]
    fn the_last_event_has_a_reason_and_no_id() {
        assert_eq!(text(&StreamEvent::Closing), "event: bye\ndata: {\"reason\":\"draining\"}\n\n");
        assert_eq!(text(&StreamEvent::KeepAlive), ":\n\n");
    }
}
