//! Work that would keep an event loop from its other requests: reading a document of many seats, checking
//! it, resolving its labels. It is done on threads of its own, a few pieces at a time.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use actix_web::{HttpRequest, web};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Code, Problem};

/// How many pieces of work are done at a time.
const PLACES: usize = 2;

/// How many bodies that are larger than an ordinary one are in memory at a time.
const LARGE_BODIES: usize = 4;

/// How long a piece of work may wait for a place.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The places for heavy work and for large bodies.
#[derive(Debug)]
pub struct Heavy {
    places: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
}

impl Default for Heavy {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { places: places(PLACES), bodies: places(LARGE_BODIES) }
    }
}

impl Heavy {
    /// Does a piece of work away from the event loop. It keeps its place until it is done, whether or not
    /// the caller waits for it.
    ///
    /// # Errors
    /// 503 `overloaded` if no place becomes free in time, and what the work fails with.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let place = tokio::time::timeout(WAIT_MAX, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            return Err(overloaded("other large documents are being read"));
        };
        let done = web::block(move || {
            let done = work();
            drop(place);
            done
        });
        done.await.map_err(|error| Problem::new(Code::Internal, "").because(error))?
    }

    /// A place for a body that may be larger than `ordinary` bytes; none is needed for one that says it is
    /// not. The body is in memory as long as its place is held.
    ///
    /// # Errors
    /// 503 `overloaded` if there are as many large bodies as may be.
    pub(crate) fn place_for_body(
        &self,
        request: &HttpRequest,
        ordinary: usize,
    ) -> Result<Option<OwnedSemaphorePermit>, Problem> {
        let headers = request.headers();
        let length =
            headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let is_ordinary = length.is_some_and(|length: usize| length <= ordinary);
        if is_ordinary && !headers.contains_key(CONTENT_ENCODING) {
            return Ok(None);
        }
        let place = Arc::clone(&self.bodies).try_acquire_owned();
        place.map(Some).map_err(|_| overloaded("other large bodies are being received"))
    }
}

fn overloaded(why: &str) -> Problem {
    Problem::new(Code::Overloaded, why)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use actix_web::test::TestRequest;

    use super::*;

    #[actix_web::test]
    async fn work_beyond_its_places_waits_and_the_event_loop_does_not() {
        let heavy = Arc::new(Heavy::default());
        let (release, wait) = mpsc::channel::<()>();
        let wait = Arc::new(std::sync::Mutex::new(wait));
        let start = || {
            let (heavy, wait) = (Arc::clone(&heavy), Arc::clone(&wait));
            actix_web::rt::spawn(async move {
                heavy.run(move || wait.lock().unwrap().recv().map_err(|_| overloaded(""))).await
            })
        };
        let work: Vec<_> = (0..PLACES).map(|_| start()).collect();
        while heavy.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let third = start();
        tokio::task::yield_now().await;
        assert!(!third.is_finished());
        (0..=PLACES).for_each(|_| release.send(()).unwrap());
        for done in work {
            done.await.unwrap().unwrap();
        }
        third.await.unwrap().unwrap();
        assert_eq!(heavy.places.available_permits(), PLACES);
    }

    #[actix_web::test]
    async fn large_bodies_beyond_their_places_are_refused() {
        let heavy = Heavy::default();
        let of = |length: usize| {
            TestRequest::default().insert_header((CONTENT_LENGTH, length)).to_http_request()
        };
        assert!(heavy.place_for_body(&of(10), 10).unwrap().is_none());
        let unknown = TestRequest::default().to_http_request();
        let held: Vec<_> =
            (0..LARGE_BODIES).map(|_| heavy.place_for_body(&unknown, 10).unwrap()).collect();
        let refused = heavy.place_for_body(&of(11), 10).unwrap_err();
        assert_eq!((refused.code, refused.retry_after), (Code::Overloaded, Some(1)));
        assert!(heavy.place_for_body(&of(10), 10).unwrap().is_none());
        drop(held);
        assert!(heavy.place_for_body(&of(11), 10).unwrap().is_some());
    }
}
