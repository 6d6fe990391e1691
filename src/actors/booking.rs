//! The booking lanes: one actor per write connection. In this process only the lane of a schedule writes the schedule.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::oneshot;

use crate::batcher::{AdmissionError, Admitted, BatchHandler};
use crate::domain::command::Command;
use crate::domain::effect::{ExecutedCommand, Outcome};
use crate::domain::execution_error::ExecutionError;
use crate::domain::ids::ScheduleId;
use crate::faults::{self, FailPoint};
use crate::seat_map::SeatMaps;
use crate::store::{CommandResult, Lane, Store};
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::actor::Actor as ActorName;
use crate::telemetry::request_context::{self, RequestContext};

use super::cancellation::{CancelOutcome, CancellationState};
use super::mailbox::{ActorHandle, BatchingActor};

pub use super::cancellation::OrderedGroup;
pub use crate::batcher::BatcherLimits;

/// The actor of one lane.
pub(crate) type BookingActor = BatchingActor<BookingJob>;

/// A submitted command.
pub(crate) struct BookingJob {
    command: Command,
    cancellation: Arc<CancellationState>,
    submitted_at: Instant,
    context: RequestContext,
    reply: oneshot::Sender<CommandResult>,
}

/// Runs the batches of one lane.
struct BookingHandler {
    lane: Lane,
    seat_maps: Arc<SeatMaps>,
    metrics: Arc<Metrics>,
}

impl BatchHandler<BookingJob> for BookingHandler {
    fn accept(&mut self, admitted: Admitted<BookingJob>) -> Option<Admitted<BookingJob>> {
        let job = &admitted.job;
        if job.cancellation.try_start() {
            return Some(admitted);
        }
        job.cancellation.abort_group();
        // A caller that cancelled does not wait any more. A caller whose deadline has just passed gets this answer.
        drop(admitted.job.reply.send(Err(ExecutionError::Withdrawn)));
        None
    }

    async fn before_batch(&mut self) {
        self.lane.take_turn().await;
    }

    async fn without_batch(&mut self) {
        self.lane.end_turn().await;
    }

    fn note_pending(&mut self, jobs: usize) {
        self.metrics.actor.set_pending(ActorName::Booking, jobs);
    }

    async fn run(&mut self, batch: Vec<Admitted<BookingJob>>) {
        let mut commands = Vec::with_capacity(batch.len());
        let mut cancellations = Vec::with_capacity(batch.len());
        let mut replies = Vec::with_capacity(batch.len());
        let contexts = batch.iter().map(|admitted| admitted.job.context.clone());
        let context = RequestContext::all(contexts);
        for Admitted { job, permit } in batch {
            self.metrics.batch.wait_seconds.observe(job.submitted_at.elapsed().as_secs_f64());
            commands.push(job.command);
            cancellations.push(job.cancellation);
            replies.push((job.reply, permit));
        }
        let is_active =
            |index: usize| cancellations.get(index).is_some_and(|command| command.is_active());
        let report = context.during(self.lane.run_batch(commands, &is_active)).await;
        faults::pass(FailPoint::BeforeSnapshot).await;
        // Must happen before the replies are sent, so that a customer who reads the map next sees the booking.
        let must_announce = self.seat_maps.apply_commits(&report.journal, &report.freed);
        // Must happen before the next batch accepts later commands of the same groups.
        for (cancellation, result) in cancellations.iter().zip(&report.results) {
            if result.as_ref().is_err_and(ExecutionError::is_retryable) {
                cancellation.abort_group();
            }
        }
        let send_replies = move || {
            for ((reply, _permit), result) in replies.into_iter().zip(report.results) {
                drop(reply.send(result));
            }
        };
        if !must_announce {
            return send_replies();
        }
        // The next batch does not wait for the announcement.
        let seat_maps = Arc::clone(&self.seat_maps);
        request_context::spawn(async move {
            seat_maps.announce_freed(&report.freed).await;
            send_replies();
        });
    }
}

/// Why a command has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Too many commands wait in the lane. The command has no effect.
    #[error("too many commands are waiting")]
    Overloaded,
    /// The service is stopping. The command has no effect.
    #[error("the service is stopping")]
    Draining,
    /// The database did not execute the command, or may have executed it and did not answer.
    #[error(transparent)]
    Failed(#[from] ExecutionError),
}

/// A submitted command, whose outcome can be waited for.
pub struct SubmittedCommand {
    cancellation: Arc<CancellationState>,
    deadline: Instant,
    answer: oneshot::Receiver<CommandResult>,
    health: Arc<Health>,
}

impl SubmittedCommand {
    /// Waits for the outcome until the deadline, or until the database is read-only.
    pub async fn outcome(self) -> Result<Outcome, SubmitError> {
        Ok(self.executed().await?.outcome)
    }

    /// Like [`Self::outcome`], but returns the outcome together with the recorded answer.
    pub async fn executed(self) -> Result<ExecutedCommand, SubmitError> {
        let Self { cancellation, deadline, answer, health } = self;
        let timed_answer = tokio::time::timeout_at(deadline.into(), answer);
        tokio::pin!(timed_answer);
        let answered = tokio::select! {
            biased;
            answered = &mut timed_answer => answered,
            // Otherwise a queued command would wait for a batch that hangs.
            () = health.read_only() => {
                if cancellation.try_cancel() {
                    cancellation.abort_group();
                    return Err(ExecutionError::ReadOnly.into());
                }
                timed_answer.await
            }
        };
        match answered {
            Ok(Ok(result)) => Ok(result?),
            // The batch ended without a reply, or the deadline has passed.
            Ok(Err(_)) | Err(_) => {
                cancellation.abort_group();
                Err(match cancellation.cancel() {
                    CancelOutcome::NotStarted => ExecutionError::Withdrawn.into(),
                    CancelOutcome::Started => ExecutionError::Unknown.into(),
                })
            }
        }
    }
}

/// All lanes of the process.
pub struct Lanes {
    lanes: Vec<ActorHandle<BookingActor>>,
    health: Arc<Health>,
}

impl Lanes {
    /// Starts one actor on the arbiter for each write connection of the store.
    #[must_use]
    pub fn start(
        store: &Arc<Store>,
        seat_maps: &Arc<SeatMaps>,
        health: &Arc<Health>,
        metrics: &Arc<Metrics>,
        arbiter: &ArbiterHandle,
        limits: BatcherLimits,
    ) -> Self {
        let start = |lane| {
            let seat_maps = Arc::clone(seat_maps);
            let handler = BookingHandler { lane, seat_maps, metrics: Arc::clone(metrics) };
            let metrics = Arc::clone(metrics);
            let arbiter = arbiter.clone();
            ActorHandle::start(ActorName::Booking, metrics, arbiter, limits, handler)
        };
        Self {
            lanes: store.take_lanes().into_iter().map(start).collect(),
            health: Arc::clone(health),
        }
    }

    /// Executes a command in the lane of its schedule, and waits for its outcome until `deadline`, or until the
    /// database is read-only. A command that is cancelled before its batch starts has no effect.
    pub async fn execute(
        &self,
        command: Command,
        deadline: Instant,
    ) -> Result<ExecutedCommand, SubmitError> {
        self.submit(command, deadline, None)?.executed().await
    }

    /// Adds a command to the end of the queue of its lane, without waiting. Dropping the returned value does not cancel
    /// the command.
    pub fn submit(
        &self,
        command: Command,
        deadline: Instant,
        group: Option<&OrderedGroup>,
    ) -> Result<SubmittedCommand, SubmitError> {
        let lane = self.lane_of(command.schedule).ok_or(SubmitError::Draining)?;
        let cancellation = Arc::new(CancellationState::new(deadline, group.cloned()));
        let (reply, answer) = oneshot::channel();
        let job = BookingJob {
            command,
            cancellation: Arc::clone(&cancellation),
            submitted_at: Instant::now(),
            context: RequestContext::current(),
            reply,
        };
        lane.send(job).map_err(|error| match error {
            AdmissionError::Full => SubmitError::Overloaded,
            AdmissionError::Closed => SubmitError::Draining,
        })?;
        Ok(SubmittedCommand { cancellation, deadline, answer, health: Arc::clone(&self.health) })
    }

    /// Returns whether every lane's actor was alive, and replaces an actor that was not.
    #[must_use]
    pub fn check(&self) -> bool {
        self.lanes.iter().filter(|lane| !lane.check()).count() == 0
    }

    /// Refuses further commands. Admitted commands are still executed.
    pub fn close(&self) {
        self.lanes.iter().for_each(|lane| lane.batcher().close());
    }

    /// Waits until no lane has an admitted command. Returns false if a lane still has one at `deadline`.
    pub async fn idle_by(&self, deadline: Instant) -> bool {
        while !self.lanes.iter().all(|lane| lane.batcher().is_idle()) {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }

    fn lane_of(&self, schedule: ScheduleId) -> Option<&ActorHandle<BookingActor>> {
        let count = i64::try_from(self.lanes.len()).ok()?;
        let lane = schedule.0.checked_rem_euclid(count)?;
        self.lanes.get(usize::try_from(lane).ok()?)
    }
}
