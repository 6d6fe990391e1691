//! What one partition has under way: deliveries in their order, each with the command that executes it.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use prometheus::IntGauge;
use tokio::sync::OwnedSemaphorePermit;

use crate::actors::booking::{Lanes, OrderedGroup, SubmitError};
use crate::domain::command::Queued;
use crate::domain::effect::Outcome;
use crate::domain::ids::RequestId;
use crate::queue::{Message, QueuedRequest};
use crate::telemetry::metrics::queue::Executed;

use crate::background::queue_consumer::executed;

/// A delivery's place in the lanes, counted while it is taken.
pub(crate) struct Permit {
    _permit: Option<OwnedSemaphorePermit>,
    taken: IntGauge,
}

impl Permit {
    pub(crate) fn new(permit: Option<OwnedSemaphorePermit>, taken: &IntGauge) -> Self {
        taken.inc();
        Self { _permit: permit, taken: taken.clone() }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.taken.dec();
    }
}

/// Where a delivery is.
enum State {
    /// In its lane.
    Submitted(BoxFuture<'static, Result<Outcome, SubmitError>>),
    /// The lane would not take it, and neither what came after it.
    SubmitError(SubmitError),
    /// It was executed, or refused.
    Completed(Executed),
}

/// A request under way.
struct Delivery {
    /// What carries it alone.
    message: Message,
    /// What it asks for, or why nobody can read it.
    request: Result<QueuedRequest, String>,
    state: State,
    tries: u32,
    /// Whether it is the last of its message.
    ends_message: bool,
    _place: Permit,
}

/// A request that is over.
pub(crate) struct Completed {
    pub(crate) message: Message,
    /// What it asked for, or why nobody can read it, to be parked.
    pub(crate) request: Result<QueuedRequest, String>,
    /// Whether it is the last of its message, which can be settled then.
    pub(crate) ends_message: bool,
    /// How it ended.
    pub(crate) executed: Executed,
}

/// Everything under way, oldest first.
pub(crate) struct ExecutionsInFlight {
    deliveries: VecDeque<Delivery>,
    group: OrderedGroup,
    window: usize,
    /// The status of the answer that a request gets whose time was over.
    expired_status: u16,
}

impl ExecutionsInFlight {
    pub(crate) fn new(window: usize, expired_status: u16) -> Self {
        Self { deliveries: VecDeque::new(), group: OrderedGroup::default(), window, expired_status }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Whether another delivery may be begun: not behind one that was declined.
    pub(crate) fn has_room(&self) -> bool {
        let declined =
            self.deliveries.back().is_some_and(|one| matches!(one.state, State::SubmitError(_)));
        self.deliveries.len() < self.window && !declined
    }

    /// Submits a request behind the others; what cannot be read only takes its place, to be parked.
    pub(crate) fn push(
        &mut self,
        (message, request): (Message, Result<QueuedRequest, String>),
        place: Permit,
        lanes: (&Arc<Lanes>, Duration),
    ) {
        let state = match &request {
            Ok(request) => submit(lanes, request, &self.group),
            Err(_) => State::Completed(Executed::Parked),
        };
        let (tries, ends_message) = (1, false);
        let delivery = Delivery { message, request, state, tries, ends_message, _place: place };
        self.deliveries.push_back(delivery);
    }

    /// What was pushed last is the last of its message.
    pub(crate) fn end_message(&mut self) {
        if let Some(last) = self.deliveries.back_mut() {
            last.ends_message = true;
        }
    }

    /// Waits for the oldest delivery; breaks with its failure. Giving up waiting changes nothing.
    pub(crate) async fn landed(&mut self) -> ControlFlow<SubmitError> {
        let Some(first) = self.deliveries.front_mut() else { return ControlFlow::Continue(()) };
        let result = match &mut first.state {
            State::Submitted(outcome) => outcome.await,
            State::SubmitError(declined) => Err(declined.clone()),
            State::Completed(_) => return ControlFlow::Continue(()),
        };
        land(first, result, self.expired_status)
    }

    /// The deliveries that are over, as far as none before them is under way.
    pub(crate) fn take_landed(&mut self) -> Vec<Completed> {
        let mut landed = Vec::new();
        while let Some(mut first) = self.deliveries.pop_front() {
            if let State::Submitted(outcome) = &mut first.state
                && let Some(result) = outcome.now_or_never()
                && let ControlFlow::Break(declined) = land(&mut first, result, self.expired_status)
            {
                first.state = State::SubmitError(declined);
            }
            let State::Completed(executed) = first.state else {
                self.deliveries.push_front(first);
                break;
            };
            let Delivery { message, request, ends_message, .. } = first;
            landed.push(Completed { message, request, ends_message, executed });
        }
        landed
    }

    /// Submits everything again, in order: what had its effect is answered with it.
    pub(crate) fn begin_again(&mut self, lanes: (&Arc<Lanes>, Duration)) {
        self.group = OrderedGroup::default();
        for delivery in &mut self.deliveries {
            let Ok(request) = &delivery.request else { continue };
            if !matches!(delivery.state, State::Completed(_)) {
                delivery.state = submit(lanes, request, &self.group);
                delivery.tries = delivery.tries.saturating_add(1);
            }
        }
    }

    /// The oldest request with its message.
    pub(crate) fn first(&self) -> Option<(Message, RequestId)> {
        let first = self.deliveries.front()?;
        Some((first.message.clone(), first.request.as_ref().ok()?.queued.id))
    }

    pub(crate) fn first_queued(&self) -> Option<Queued> {
        Some(self.deliveries.front()?.request.as_ref().ok()?.queued)
    }

    pub(crate) fn tries_of_first(&self) -> u32 {
        self.deliveries.front().map_or(0, |first| first.tries)
    }

    /// The oldest request is over, since it cannot be executed.
    pub(crate) fn give_up_first(&mut self, how: Executed) {
        if let Some(first) = self.deliveries.front_mut() {
            first.state = State::Completed(how);
        }
    }
}

/// Into its lane, with the time that it may take.
fn submit(
    (lanes, patience): (&Arc<Lanes>, Duration),
    request: &QueuedRequest,
    group: &OrderedGroup,
) -> State {
    match lanes.submit(request.command(), Instant::now() + patience, Some(group)) {
        Ok(submitted) => State::Submitted(Box::pin(submitted.outcome())),
        Err(declined) => {
            // What comes behind it must not overtake it.
            group.abort();
            State::SubmitError(declined)
        }
    }
}

fn land(
    delivery: &mut Delivery,
    result: Result<Outcome, SubmitError>,
    expired_status: u16,
) -> ControlFlow<SubmitError> {
    match result {
        Ok(outcome) => {
            delivery.state = State::Completed(executed(&outcome, expired_status));
            ControlFlow::Continue(())
        }
        Err(declined) => {
            delivery.state = State::SubmitError(declined.clone());
            ControlFlow::Break(declined)
        }
    }
}
