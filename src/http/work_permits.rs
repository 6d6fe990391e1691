//! Permits for work that would block an event loop (parsing and checking a document of many seats) and for large
//! bodies. The work is done on other threads, a few tasks at a time.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use actix_web::{HttpRequest, web};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Code, Problem};

/// The most tasks that run at a time.
const WORKERS: usize = 2;

/// The most bodies above the ordinary limit that are in memory at a time.
const LARGE_BODIES: usize = 4;

/// How long a task may wait for a permit.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The permits for work on other threads and for large bodies.
#[derive(Debug)]
pub struct WorkPermits {
    workers: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
}

impl Default for WorkPermits {
    fn default() -> Self {
        let permits = |count| Arc::new(Semaphore::new(count));
        Self { workers: permits(WORKERS), bodies: permits(LARGE_BODIES) }
    }
}

impl WorkPermits {
    /// Runs a task on another thread. The task keeps its permit until it is done, even if the client has disconnected.
    ///
    /// # Errors
    /// 503 `overloaded` if no permit is free in time; otherwise the error of the task.
    pub(crate) async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = Arc::clone(&self.workers).acquire_owned();
        let Ok(Ok(permit)) = tokio::time::timeout(WAIT_MAX, permit).await else {
            return Err(overloaded("other large documents are being read"));
        };
        let done = web::block(move || {
            let done = work();
            drop(permit);
            done
        });
        done.await.map_err(|error| Problem::new(Code::Internal, "").because(error))?
    }

    /// The permit for a body that may be larger than `ordinary` bytes. The caller keeps the permit as long as the body.
    /// `None` if the headers show that the body is not larger.
    ///
    /// # Errors
    /// 503 `overloaded` if all permits are in use.
    pub(crate) fn permit_for_body(
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
        let permit = Arc::clone(&self.bodies).try_acquire_owned();
        permit.map(Some).map_err(|_| overloaded("other large bodies are being received"))
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
    async fn work_without_a_permit_waits_and_the_event_loop_does_not() {
        let permits = Arc::new(WorkPermits::default());
        let (release, wait) = mpsc::channel::<()>();
        let wait = Arc::new(std::sync::Mutex::new(wait));
        let start = || {
            let permits = Arc::clone(&permits);
            let wait = Arc::clone(&wait);
            actix_web::rt::spawn(async move {
                permits
                    .run_blocking(move || wait.lock().unwrap().recv().map_err(|_| overloaded("")))
                    .await
            })
        };
        let work: Vec<_> = (0..WORKERS).map(|_| start()).collect();
        while permits.workers.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let third = start();
        tokio::task::yield_now().await;
        assert!(!third.is_finished());
        (0..=WORKERS).for_each(|_| release.send(()).unwrap());
        for done in work {
            done.await.unwrap().unwrap();
        }
        third.await.unwrap().unwrap();
        assert_eq!(permits.workers.available_permits(), WORKERS);
    }

    #[actix_web::test]
    async fn large_bodies_without_a_permit_are_refused() {
        let permits = WorkPermits::default();
        let of = |length: usize| {
            TestRequest::default().insert_header((CONTENT_LENGTH, length)).to_http_request()
        };
        assert!(permits.permit_for_body(&of(10), 10).unwrap().is_none());
        let unknown = TestRequest::default().to_http_request();
        let held: Vec<_> =
            (0..LARGE_BODIES).map(|_| permits.permit_for_body(&unknown, 10).unwrap()).collect();
        let refused = permits.permit_for_body(&of(11), 10).unwrap_err();
        assert_eq!((refused.code, refused.retry_after), (Code::Overloaded, Some(1)));
        assert!(permits.permit_for_body(&of(10), 10).unwrap().is_none());
        drop(held);
        assert!(permits.permit_for_body(&of(11), 10).unwrap().is_some());
    }
}
