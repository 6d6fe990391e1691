//! What one partition has under way: deliveries in their order, each with the command that executes it.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use prometheus::IntGauge;
use tokio::sync::OwnedSemaphorePermit;

use crate::actors::booking::{Chain, Declined, Lanes};
use crate::domain::command::Queued;
use crate::domain::effect::Outcome;
use crate::domain::ids::RequestId;
use crate::queue::{Message, Request};
use crate::telemetry::metrics::queue::Executed;

use crate::background::queue_consumer::executed;

/// A delivery's place in the lanes, counted while it is taken.
pub(crate) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
    taken: IntGauge,
}

impl Place {
    pub(crate) fn new(permit: Option<OwnedSemaphorePermit>, taken: &IntGauge) -> Self {
        taken.inc();
        Self { _permit: permit, taken: taken.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.dec();
    }
}

/// Where a delivery is.
enum State {
    /// In its lane.
    Submitted(BoxFuture<'static, Result<Outcome, Declined>>),
    /// The lane would not take it, and neither what came after it.
    Declined(Declined),
    /// It was executed, or refused.
    Landed(Executed),
}

/// A request under way.
struct Delivery {
    /// What carries it alone.
    message: Message,
    /// What it asks for, or why nobody can read it.
    request: Result<Request, String>,
    state: State,
    tries: u32,
    /// Whether it is the last of its message.
    ends_message: bool,
    _place: Place,
}

/// A request that is over.
pub(crate) struct Landed {
    pub(crate) message: Message,
    /// What it asked for, or why nobody can read it, to be parked.
    pub(crate) request: Result<Request, String>,
    /// Whether it is the last of its message, which can be settled then.
    pub(crate) ends_message: bool,
    /// How it ended.
    pub(crate) executed: Executed,
}

/// Everything under way, oldest first.
pub(crate) struct Flight {
    deliveries: VecDeque<Delivery>,
    chain: Chain,
    window: usize,
    /// The status of the answer that a request gets whose time was over.
    expired_status: u16,
}

impl Flight {
    pub(crate) fn new(window: usize, expired_status: u16) -> Self {
        Self { deliveries: VecDeque::new(), chain: Chain::default(), window, expired_status }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Whether another delivery may be begun: not behind one that was declined.
    pub(crate) fn has_room(&self) -> bool {
        let declined =
            self.deliveries.back().is_some_and(|one| matches!(one.state, State::Declined(_)));
        self.deliveries.len() < self.window && !declined
    }

    /// Submits a request behind the others; what cannot be read only takes its place, to be parked.
    pub(crate) fn push(
        &mut self,
        (message, request): (Message, Result<Request, String>),
        place: Place,
        lanes: (&Arc<Lanes>, Duration),
    ) {
        let state = match &request {
            Ok(request) => submit(lanes, request, &self.chain),
            Err(_) => State::Landed(Executed::Parked),
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
    pub(crate) async fn landed(&mut self) -> ControlFlow<Declined> {
        let Some(first) = self.deliveries.front_mut() else { return ControlFlow::Continue(()) };
        let result = match &mut first.state {
            State::Submitted(outcome) => outcome.await,
            State::Declined(declined) => Err(declined.clone()),
            State::Landed(_) => return ControlFlow::Continue(()),
        };
        land(first, result, self.expired_status)
    }

    /// The deliveries that are over, as far as none before them is under way.
    pub(crate) fn take_landed(&mut self) -> Vec<Landed> {
        let mut landed = Vec::new();
        while let Some(mut first) = self.deliveries.pop_front() {
            if let State::Submitted(outcome) = &mut first.state
                && let Some(result) = outcome.now_or_never()
                && let ControlFlow::Break(declined) = land(&mut first, result, self.expired_status)
            {
                first.state = State::Declined(declined);
            }
            let State::Landed(executed) = first.state else {
                self.deliveries.push_front(first);
                break;
            };
            let Delivery { message, request, ends_message, .. } = first;
            landed.push(Landed { message, request, ends_message, executed });
        }
        landed
    }

    /// Submits everything again, in order: what had its effect is answered with it.
    pub(crate) fn begin_again(&mut self, lanes: (&Arc<Lanes>, Duration)) {
        self.chain = Chain::default();
        for delivery in &mut self.deliveries {
            let Ok(request) = &delivery.request else { continue };
            if !matches!(delivery.state, State::Landed(_)) {
                delivery.state = submit(lanes, request, &self.chain);
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
            first.state = State::Landed(how);
        }
    }
}

/// Into its lane, with the time that it may take.
fn submit((lanes, patience): (&Arc<Lanes>, Duration), request: &Request, chain: &Chain) -> State {
    match lanes.submit(request.command(), Instant::now() + patience, Some(chain)) {
        Ok(submitted) => State::Submitted(Box::pin(submitted.outcome())),
        Err(declined) => {
            // What comes behind it must not overtake it.
            chain.break_off();
            State::Declined(declined)
        }
    }
}

fn land(
    delivery: &mut Delivery,
    result: Result<Outcome, Declined>,
    expired_status: u16,
) -> ControlFlow<Declined> {
    match result {
        Ok(outcome) => {
            delivery.state = State::Landed(executed(&outcome, expired_status));
            ControlFlow::Continue(())
        }
        Err(declined) => {
            delivery.state = State::Declined(declined.clone());
            ControlFlow::Break(declined)
        }
    }
}
