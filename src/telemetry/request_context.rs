//! Why something is done: the requests that a task works on, so that each line of the log can name them.
//!
//! A task knows its requests without being told by every function in between. Whoever hands work to
//! another task hands them on: [`spawn`] does, and a batch is begun with those of all its jobs.

use std::sync::Arc;

use tokio::task::JoinHandle;

tokio::task_local! {
    static CONTEXT: RequestContext;
}

/// Requests that a line of the log names at most.
const NAMED_MAX: usize = 16;

/// A request as the log names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestIds {
    /// Its id, as its answer carries it.
    pub id: String,
    /// Its place in a trace, if its caller named one.
    pub trace: Option<Trace>,
}

/// A place in a trace (W3C Trace Context).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The caller's `trace-id`: 32 lowercase hexadecimal digits.
    pub trace_id: String,
    /// Ours for this request: 16 lowercase hexadecimal digits.
    pub span_id: String,
}

/// The requests that something is done for; none for what is done by the clock.
#[derive(Debug, Clone, Default)]
pub struct RequestContext {
    requests: Option<Arc<[Arc<RequestIds>]>>,
}

impl RequestContext {
    /// One request.
    #[must_use]
    pub fn request(request: RequestIds) -> Self {
        Self { requests: Some(Arc::new([Arc::new(request)])) }
    }

    /// All requests of several contexts, as many of them as a line of the log may name.
    #[must_use]
    pub fn all(contexts: impl IntoIterator<Item = Self>) -> Self {
        let several = contexts.into_iter().filter_map(|context| context.requests);
        let requests: Vec<Arc<RequestIds>> =
            several.flat_map(|requests| requests.to_vec()).take(NAMED_MAX).collect();
        Self { requests: (!requests.is_empty()).then(|| requests.into()) }
    }

    /// The requests that this task works on.
    #[must_use]
    pub fn current() -> Self {
        CONTEXT.try_with(Self::clone).unwrap_or_default()
    }

    /// The requests, at most 16.
    #[must_use]
    pub fn requests(&self) -> &[Arc<RequestIds>] {
        self.requests.as_deref().unwrap_or_default()
    }

    /// Does work for this context.
    pub async fn during<T>(self, work: impl Future<Output = T>) -> T {
        CONTEXT.scope(self, work).await
    }
}

/// As `tokio::spawn`, for work whose context is that of this task.
pub fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(RequestContext::current().during(work))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(id: &str) -> RequestContext {
        RequestContext::request(RequestIds { id: id.to_owned(), trace: None })
    }

    fn named() -> Vec<String> {
        RequestContext::current().requests().iter().map(|request| request.id.clone()).collect()
    }

    #[tokio::test]
    async fn a_task_and_those_it_spawns_know_their_request_and_others_do_not() {
        context("one")
            .during(async {
                assert_eq!(named(), ["one"]);
                assert_eq!(spawn(async { named() }).await.unwrap(), ["one"]);
                assert!(tokio::spawn(async { named() }).await.unwrap().is_empty());
            })
            .await;
        assert!(named().is_empty());
    }

    #[test]
    fn a_batch_is_done_for_all_its_requests_and_names_a_few() {
        let contexts = (0..40).map(|number| context(&number.to_string()));
        let all = RequestContext::all(contexts.chain([RequestContext::default()]));
        assert_eq!(all.requests().len(), NAMED_MAX);
        assert_eq!(all.requests()[1].id, "1");
        assert!(RequestContext::all([RequestContext::default()]).requests().is_empty());
    }
}
