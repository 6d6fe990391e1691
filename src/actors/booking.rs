//! The booking lanes: one actor per write connection, each the only writer of its schedules in this
//! process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::domain::command::Command;
use crate::domain::effect::Outcome;
use crate::domain::execution_error::ExecutionError;
use crate::domain::ids::ScheduleId;
use crate::faults::{self, FailPoint};
use crate::seat_map::SeatMaps;
use crate::store::{CommandResult, Store};
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::actor::Actor as ActorName;
use crate::telemetry::request_context;
use crate::telemetry::request_context::RequestContext;

use super::batching::{BatchLimits, Batching, Submit, Work};
use super::cancellation::{CancelOutcome, CancellationState};
use super::replaceable::Replaceable;

pub use super::cancellation::OrderedGroup;

/// The actor of one lane.
type BookingActor = Batching<Lane>;

/// A command on its way, holding its place in the lane's bounded queue.
pub(crate) struct BookingJob {
    command: Command,
    ticket: Arc<CancellationState>,
    arrived: Instant,
    context: RequestContext,
    reply: oneshot::Sender<CommandResult>,
    _place: OwnedSemaphorePermit,
}

/// What a lane works with.
pub(crate) struct Lane {
    number: usize,
    store: Arc<Store>,
    seat_maps: Arc<SeatMaps>,
    metrics: Arc<Metrics>,
}

impl Work for Lane {
    type Job = BookingJob;

    const NAME: ActorName = ActorName::Booking;

    fn take(job: BookingJob) -> Option<BookingJob> {
        if job.ticket.take() {
            return Some(job);
        }
        job.ticket.fail();
        // A caller who withdrew listens no more; one whose deadline has just passed does.
        drop(job.reply.send(Err(ExecutionError::Withdrawn)));
        None
    }

    fn run(self: Arc<Self>, jobs: Vec<BookingJob>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut commands = Vec::with_capacity(jobs.len());
            let mut tickets = Vec::with_capacity(jobs.len());
            let mut replies = Vec::with_capacity(jobs.len());
            let context = RequestContext::all(jobs.iter().map(|job| job.context.clone()));
            for job in jobs {
                self.metrics.batch.wait_seconds.observe(job.arrived.elapsed().as_secs_f64());
                commands.push(job.command);
                tickets.push(job.ticket);
                replies.push((job.reply, job._place));
            }
            let wanted = |place: usize| tickets.get(place).is_some_and(|ticket| ticket.wanted());
            let work = self.store.run_batch(self.number, commands, &wanted);
            let report = context.during(work).await;
            faults::pass(FailPoint::BeforeSnapshot).await;
            // Before the answers leave: who has just booked sees it.
            let must_tell = self.seat_maps.committed(&report.journal, &report.freed);
            // Before the next batch takes what stands behind it.
            for (ticket, result) in tickets.iter().zip(&report.results) {
                if result.as_ref().is_err_and(ExecutionError::is_retryable) {
                    ticket.fail();
                }
            }
            let answer = move || {
                for ((reply, _place), result) in replies.into_iter().zip(report.results) {
                    drop(reply.send(result));
                }
            };
            if !must_tell {
                return answer();
            }
            // The next batch does not wait for this.
            let seat_maps = Arc::clone(&self.seat_maps);
            request_context::spawn(async move {
                seat_maps.given_back(&report.freed).await;
                answer();
            });
        })
    }
}

/// Why a command was not executed, or not known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Too many commands wait in its lane. No effect.
    #[error("too many commands are waiting")]
    Overloaded,
    /// The service is stopping. No effect.
    #[error("the service is stopping")]
    Draining,
    /// The database did not execute it, or it is not known whether it did.
    #[error(transparent)]
    Failed(#[from] ExecutionError),
}

/// A command in its lane.
pub struct Submitted {
    ticket: Arc<CancellationState>,
    deadline: Instant,
    answer: oneshot::Receiver<CommandResult>,
    health: Arc<Health>,
}

impl Submitted {
    /// Waits for its outcome until its deadline, or until the database takes no writes.
    pub async fn outcome(self) -> Result<Outcome, SubmitError> {
        let Self { ticket, deadline, answer, health } = self;
        let waiting = tokio::time::timeout_at(deadline.into(), answer);
        tokio::pin!(waiting);
        let answered = tokio::select! {
            biased;
            answered = &mut waiting => answered,
            // What no batch has taken would wait behind one that hangs.
            () = health.read_only() => {
                if ticket.recall() {
                    ticket.fail();
                    return Err(ExecutionError::ReadOnly.into());
                }
                waiting.await
            }
        };
        match answered {
            Ok(Ok(result)) => Ok(result?),
            // The batch died without an answer, or time is up.
            Ok(Err(_)) | Err(_) => {
                ticket.fail();
                Err(match ticket.withdraw() {
                    CancelOutcome::InTime => ExecutionError::Withdrawn.into(),
                    CancelOutcome::TooLate => ExecutionError::Unknown.into(),
                })
            }
        }
    }
}

/// All lanes of the process.
pub struct Lanes {
    lanes: Vec<(Replaceable<BookingActor>, Arc<Semaphore>)>,
    limits: LaneLimits,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
}

/// Sizes of the lanes.
#[derive(Debug, Clone, Copy)]
pub struct LaneLimits {
    /// Commands in one batch.
    pub batch_max: usize,
    /// Commands waiting or running in one lane; more are refused at once.
    pub pending_max: usize,
}

impl Lanes {
    /// Starts one actor per write connection of the store, on the arbiter given.
    #[must_use]
    pub fn start(
        store: &Arc<Store>,
        seat_maps: &Arc<SeatMaps>,
        (health, metrics): (&Arc<Health>, &Arc<Metrics>),
        arbiter: &ArbiterHandle,
        limits: LaneLimits,
    ) -> Self {
        let batch_limits = BatchLimits { batch_max: limits.batch_max, flights_max: 1 };
        let lane = |number| {
            let work = Arc::new(Lane {
                number,
                store: Arc::clone(store),
                seat_maps: Arc::clone(seat_maps),
                metrics: Arc::clone(metrics),
            });
            let (arbiter, shared) = (arbiter.clone(), Arc::clone(metrics));
            let start = move || {
                let (work, metrics) = (Arc::clone(&work), Arc::clone(&shared));
                Supervisor::start_in_arbiter(&arbiter, move |_| {
                    Batching::new(work, batch_limits, metrics)
                })
            };
            let actor = Replaceable::start(ActorName::Booking, Arc::clone(metrics), start);
            (actor, Arc::new(Semaphore::new(limits.pending_max)))
        };
        let lanes = (0..store.lanes()).map(lane).collect();
        Self { lanes, limits, health: Arc::clone(health), metrics: Arc::clone(metrics) }
    }

    /// Executes a command in the lane of its schedule and waits for its outcome until `deadline`, or until
    /// the database takes no writes. A command that is given up before a batch has taken it has no effect.
    pub async fn execute(
        &self,
        command: Command,
        deadline: Instant,
    ) -> Result<Outcome, SubmitError> {
        self.submit(command, deadline, None)?.outcome().await
    }

    /// Puts a command into the lane of its schedule, behind all that were submitted before; nothing waits
    /// here. Dropping what this gives does not withdraw it.
    pub fn submit(
        &self,
        command: Command,
        deadline: Instant,
        chain: Option<&OrderedGroup>,
    ) -> Result<Submitted, SubmitError> {
        let Some((actor, door)) = self.lane_of(command.schedule) else {
            return Err(SubmitError::Draining);
        };
        let place = match Arc::clone(door).try_acquire_owned() {
            Ok(place) => place,
            Err(tokio::sync::TryAcquireError::Closed) => return Err(SubmitError::Draining),
            Err(tokio::sync::TryAcquireError::NoPermits) => {
                self.metrics.actor.overloaded(ActorName::Booking);
                return Err(SubmitError::Overloaded);
            }
        };
        let ticket = Arc::new(CancellationState::new(deadline, chain.cloned()));
        let (reply, answer) = oneshot::channel();
        actor.tell(Submit(BookingJob {
            command,
            ticket: Arc::clone(&ticket),
            arrived: Instant::now(),
            context: RequestContext::current(),
            reply,
            _place: place,
        }));
        Ok(Submitted { ticket, deadline, answer, health: Arc::clone(&self.health) })
    }

    /// Whether every lane's actor lives. A dead one is replaced by this very call.
    #[must_use]
    pub fn check(&self) -> bool {
        self.lanes.iter().fold(true, |alive, (actor, _)| actor.check() && alive)
    }

    /// Takes no more commands. What waits is still executed.
    pub fn close(&self) {
        for (_, door) in &self.lanes {
            door.close();
        }
    }

    /// Waits until nothing waits or runs; false if that is not so by `deadline`.
    pub async fn idle_by(&self, deadline: Instant) -> bool {
        let busy = || {
            self.lanes.iter().any(|(_, door)| door.available_permits() < self.limits.pending_max)
        };
        while busy() {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }

    fn lane_of(
        &self,
        schedule: ScheduleId,
    ) -> Option<&(Replaceable<BookingActor>, Arc<Semaphore>)> {
        let count = i64::try_from(self.lanes.len()).ok()?;
        let lane = schedule.0.checked_rem_euclid(count)?;
        self.lanes.get(usize::try_from(lane).ok()?)
    }
}
