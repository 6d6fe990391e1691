//! The request context: the requests for which a task works. Log lines contain their ids.
//!
//! The context is a task-local value, so functions need not pass it as an argument. Work in another task must get the
//! context explicitly: [`spawn`] passes it on, and a batch gets the contexts of all its jobs.

use std::sync::Arc;

use tokio::task::JoinHandle;

tokio::task_local! {
    static CONTEXT: RequestContext;
}

/// The most requests in one log line.
const NAMED_MAX: usize = 16;

/// The ids of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestIds {
    /// The id of the request, as in its answer.
    pub id: String,
    /// The position of the request in a trace, if the caller sent one.
    pub trace: Option<Trace>,
}

/// A position in a trace (W3C Trace Context).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The caller's `trace-id`: 32 lowercase hexadecimal digits.
    pub trace_id: String,
    /// The span of this request: 16 lowercase hexadecimal digits.
    pub span_id: String,
}

/// The requests for which a task works; none for a task that runs on a timer.
#[derive(Debug, Clone, Default)]
pub struct RequestContext {
    requests: Requests,
}

/// The requests of a context. Most contexts have one, which needs no list.
#[derive(Debug, Clone, Default)]
enum Requests {
    #[default]
    None,
    One(Arc<RequestIds>),
    Several(Arc<[Arc<RequestIds>]>),
}

impl RequestContext {
    /// The context of one request.
    #[must_use]
    pub fn request(request: impl Into<Arc<RequestIds>>) -> Self {
        Self { requests: Requests::One(request.into()) }
    }

    /// The requests of several contexts, at most 16.
    #[must_use]
    pub fn all(contexts: impl IntoIterator<Item = Self>) -> Self {
        let requests = contexts.into_iter().flat_map(|context| context.requests().to_vec());
        let requests: Vec<Arc<RequestIds>> = requests.take(NAMED_MAX).collect();
        Self { requests: Requests::Several(requests.into()) }
    }

    /// The context of this task.
    #[must_use]
    pub fn current() -> Self {
        CONTEXT.try_with(Self::clone).unwrap_or_default()
    }

    /// The requests, at most 16.
    #[must_use]
    pub fn requests(&self) -> &[Arc<RequestIds>] {
        match &self.requests {
            Requests::None => &[],
            Requests::One(request) => std::slice::from_ref(request),
            Requests::Several(requests) => requests,
        }
    }

    /// Runs work in this context.
    pub async fn during<T>(self, work: impl Future<Output = T>) -> T {
        CONTEXT.scope(self, work).await
    }
}

/// Like `tokio::spawn`, but the new task has the context of this task.
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
    async fn a_task_and_those_it_spawns_have_its_request_and_others_do_not() {
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
    fn a_batch_has_the_requests_of_its_jobs_up_to_a_limit() {
        let contexts = (0..40).map(|number| context(&number.to_string()));
        let all = RequestContext::all(contexts.chain([RequestContext::default()]));
        assert_eq!(all.requests().len(), NAMED_MAX);
        assert_eq!(all.requests()[1].id, "1");
        assert!(RequestContext::all([RequestContext::default()]).requests().is_empty());
    }
}
