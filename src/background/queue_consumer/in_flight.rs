//! The requests of one partition that are being executed, in their order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use prometheus::IntGauge;
use tokio::sync::OwnedSemaphorePermit;

use crate::actors::booking::{Lanes, OrderedGroup, SubmitError};
use crate::domain::effect::Outcome;
use crate::domain::rejection::Rejection;
use crate::queue::{Message, QueuedRequest};
use crate::telemetry::metrics::queue::Executed;

/// The permit of a request to be in the lanes. The gauge counts the permits that are held.
pub(crate) struct Permit {
    _permit: Option<OwnedSemaphorePermit>,
    held: IntGauge,
}

impl Permit {
    pub(crate) fn new(permit: Option<OwnedSemaphorePermit>, held: &IntGauge) -> Self {
        held.inc();
        Self { _permit: permit, held: held.clone() }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.held.dec();
    }
}

enum State {
    /// The request is in its lane.
    Submitted(BoxFuture<'static, Result<Outcome, SubmitError>>),
    /// The request failed, or the lane did not admit it. No later request is executed.
    Failed(SubmitError),
    /// The request was executed or refused, or can never be executed.
    Completed(Executed),
}

/// A request that is being executed.
pub(crate) struct Execution {
    /// A message that contains only this request.
    pub(crate) message: Message,
    /// The request, or the reason why it cannot be decoded.
    pub(crate) request: Result<QueuedRequest, String>,
    state: State,
    pub(crate) attempts: u32,
    /// Whether this is the last request of a delivered message. The message is settled together with it.
    pub(crate) ends_message: bool,
    permit: Option<Permit>,
}

/// All requests of a partition that are being executed, oldest first.
pub(crate) struct ExecutionsInFlight {
    lanes: Arc<Lanes>,
    /// The longest that one execution may take.
    timeout: Duration,
    /// The most requests that are executed at the same time.
    window: usize,
    /// The status of the answer to an expired request.
    expired_status: u16,
    executions: VecDeque<Execution>,
    group: OrderedGroup,
}

impl ExecutionsInFlight {
    pub(crate) fn new(
        lanes: Arc<Lanes>,
        timeout: Duration,
        window: usize,
        expired_status: u16,
    ) -> Self {
        let executions = VecDeque::new();
        let group = OrderedGroup::default();
        Self { lanes, timeout, window, expired_status, executions, group }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.executions.is_empty()
    }

    /// Whether another request may be submitted. After a failed request none may.
    pub(crate) fn has_room(&self) -> bool {
        let failed =
            self.executions.back().is_some_and(|last| matches!(last.state, State::Failed(_)));
        self.executions.len() < self.window && !failed
    }

    /// Submits a request after all others. A request that cannot be decoded is completed immediately, in its position.
    pub(crate) fn push(
        &mut self,
        message: Message,
        request: Result<QueuedRequest, String>,
        permit: Permit,
    ) {
        let state = match &request {
            Ok(request) => self.submit(request),
            Err(_) => State::Completed(Executed::DeadLettered),
        };
        self.executions.push_back(Execution {
            message,
            request,
            state,
            attempts: 1,
            ends_message: false,
            permit: Some(permit),
        });
    }

    /// Marks the request that was pushed last as the last one of its message.
    pub(crate) fn end_message(&mut self) {
        if let Some(last) = self.executions.back_mut() {
            last.ends_message = true;
        }
    }

    /// Waits for the oldest request. Returns its failure if it failed. Cancellation-safe.
    pub(crate) async fn first_completed(&mut self) -> Result<(), SubmitError> {
        let Some(first) = self.executions.front_mut() else { return Ok(()) };
        let result = match &mut first.state {
            State::Submitted(outcome) => outcome.await,
            State::Failed(error) => return Err(error.clone()),
            State::Completed(_) => return Ok(()),
        };
        first.finish(result, self.expired_status)
    }

    /// Removes and returns the oldest requests as far as they are completed, and drops their permits.
    pub(crate) fn take_completed(&mut self) -> Vec<(Execution, Executed)> {
        let mut completed = Vec::new();
        while let Some(mut first) = self.executions.pop_front() {
            if let State::Submitted(outcome) = &mut first.state
                && let Some(result) = outcome.now_or_never()
            {
                // The state records a failure, and the next wait returns it.
                let _ = first.finish(result, self.expired_status);
            }
            let State::Completed(executed) = first.state else {
                self.executions.push_front(first);
                break;
            };
            first.permit = None;
            completed.push((first, executed));
        }
        completed
    }

    /// Submits every request that is not completed again, in order. A request that already had its effect gets its
    /// recorded outcome.
    pub(crate) fn retry(&mut self) {
        self.group = OrderedGroup::default();
        for mut execution in std::mem::take(&mut self.executions) {
            if let Ok(request) = &execution.request
                && !matches!(execution.state, State::Completed(_))
            {
                execution.state = self.submit(request);
                execution.attempts = execution.attempts.saturating_add(1);
            }
            self.executions.push_back(execution);
        }
    }

    pub(crate) fn first(&self) -> Option<&Execution> {
        self.executions.front()
    }

    /// Marks the oldest request, which cannot be executed, as completed.
    pub(crate) fn complete_first(&mut self, executed: Executed) {
        if let Some(first) = self.executions.front_mut() {
            first.state = State::Completed(executed);
        }
    }

    fn submit(&self, request: &QueuedRequest) -> State {
        let deadline = Instant::now() + self.timeout;
        match self.lanes.submit(request.command(), deadline, Some(&self.group)) {
            Ok(submitted) => State::Submitted(Box::pin(submitted.outcome())),
            Err(error) => {
                // Later requests must not be executed before this one.
                self.group.abort();
                State::Failed(error)
            }
        }
    }
}

impl Execution {
    fn finish(
        &mut self,
        result: Result<Outcome, SubmitError>,
        expired_status: u16,
    ) -> Result<(), SubmitError> {
        self.state = match &result {
            Ok(outcome) => State::Completed(executed(outcome, expired_status)),
            Err(error) => State::Failed(error.clone()),
        };
        result.map(drop)
    }
}

/// The label under which an execution is counted. A status request after the deadline may have recorded the answer
/// "expired" before the execution.
fn executed(outcome: &Outcome, expired_status: u16) -> Executed {
    match outcome {
        Outcome::Done(_) => Executed::Done,
        Outcome::Refused(Rejection::TooLate) => Executed::Expired,
        Outcome::Replayed(answer) if answer.status == expired_status => Executed::Expired,
        Outcome::Refused(_) => Executed::Refused,
        Outcome::Repeated(_) | Outcome::Replayed(_) | Outcome::NotRecorded => Executed::Repeated,
    }
}
