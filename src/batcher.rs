//! Batching: the jobs that arrive while one batch runs form the next batch.
//!
//! No timer delays a job: an idle batcher runs it immediately. Under load the batches grow, and the cost of each job
//! falls.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc};
use tokio::task::AbortHandle;

/// The bounds of a batcher.
#[derive(Debug, Clone, Copy)]
pub struct BatcherLimits {
    /// The most jobs in one batch.
    pub batch_max: usize,
    /// The most jobs that are admitted at the same time.
    pub pending_max: usize,
}

/// Why a batcher refuses a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AdmissionError {
    /// The batcher has admitted as many jobs as its bound allows.
    Full,
    /// The batcher is closed.
    Closed,
}

/// An admitted job. It counts towards the bound until its permit is dropped.
pub(crate) struct Admitted<J> {
    pub(crate) job: J,
    pub(crate) permit: OwnedSemaphorePermit,
}

/// Runs batches of jobs, one batch at a time. A closure that takes `Vec<J>` is a handler, too; its jobs count towards
/// the bound only until their batch starts.
pub(crate) trait BatchHandler<J>: Send + 'static {
    /// Returns the job if it must be run. Otherwise answers the job and returns `None`.
    fn accept(&mut self, job: Admitted<J>) -> Option<Admitted<J>> {
        Some(job)
    }

    /// Called before a batch is removed from the queue. The jobs that arrive while it runs are in the batch.
    fn before_batch(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Called instead of [`Self::run`] if none of the jobs that were removed must be run.
    fn without_batch(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Called after each batch has been removed from the queue, with the number of jobs that are still queued.
    fn note_pending(&mut self, _jobs: usize) {}

    /// Runs a batch of at least one job and answers each job. If this method panics, the jobs of the batch are dropped,
    /// and the next batch runs.
    fn run(&mut self, batch: Vec<Admitted<J>>) -> impl Future<Output = ()> + Send;
}

impl<J, F, R> BatchHandler<J> for F
where
    J: Send + 'static,
    F: FnMut(Vec<J>) -> R + Send + 'static,
    R: Future<Output = ()> + Send,
{
    fn run(&mut self, batch: Vec<Admitted<J>>) -> impl Future<Output = ()> + Send {
        self(batch.into_iter().map(|admitted| admitted.job).collect())
    }
}

/// A bounded queue of jobs that one task runs in batches, in order.
pub(crate) struct Batcher<J> {
    admission: Arc<Semaphore>,
    pending_max: usize,
    queue: mpsc::UnboundedSender<Admitted<J>>,
    task: Option<AbortHandle>,
}

impl<J: Send + 'static> Batcher<J> {
    /// Starts the task in the tokio runtime of the caller.
    pub(crate) fn start(limits: BatcherLimits, handler: impl BatchHandler<J>) -> Self {
        let (mut batcher, task) = Self::new(limits, handler);
        batcher.task = Some(tokio::spawn(task).abort_handle());
        batcher
    }

    /// Creates a batcher and its task, which the caller must spawn.
    pub(crate) fn new(
        BatcherLimits { batch_max, pending_max }: BatcherLimits,
        handler: impl BatchHandler<J>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, jobs) = mpsc::unbounded_channel();
        let admission = Arc::new(Semaphore::new(pending_max));
        (Self { admission, pending_max, queue, task: None }, run_batches(jobs, batch_max, handler))
    }

    /// Admits a job and adds it to the queue.
    pub(crate) fn push(&self, job: J) -> Result<(), AdmissionError> {
        self.admit(job).map(|job| self.enqueue(job))
    }

    /// Admits a job. The caller then adds it to the queue with [`Self::enqueue`].
    pub(crate) fn admit(&self, job: J) -> Result<Admitted<J>, AdmissionError> {
        match Arc::clone(&self.admission).try_acquire_owned() {
            Ok(permit) => Ok(Admitted { job, permit }),
            Err(TryAcquireError::NoPermits) => Err(AdmissionError::Full),
            Err(TryAcquireError::Closed) => Err(AdmissionError::Closed),
        }
    }

    /// Adds a job to the queue. The job is dropped if the task has ended.
    pub(crate) fn enqueue(&self, job: Admitted<J>) {
        drop(self.queue.send(job));
    }

    /// Whether no job is admitted.
    pub(crate) fn is_idle(&self) -> bool {
        self.admission.available_permits() == self.pending_max
    }
}

impl<J> Batcher<J> {
    /// Refuses further jobs. Admitted jobs are still run.
    pub(crate) fn close(&self) {
        self.admission.close();
    }

    /// Drops the running batch and the queued jobs, and refuses further jobs.
    pub(crate) fn stop(&self) {
        self.close();
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl<J> Drop for Batcher<J> {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn run_batches<J: Send + 'static>(
    mut jobs: mpsc::UnboundedReceiver<Admitted<J>>,
    batch_max: usize,
    mut handler: impl BatchHandler<J>,
) {
    while let Some(first) = jobs.recv().await {
        caught("the preparation of a batch panicked", async { handler.before_batch().await }).await;
        if jobs.len() + 1 < batch_max {
            // Lets tasks that are about to add jobs run first, so that the batch contains every job that has arrived.
            tokio::task::yield_now().await;
        }
        let mut batch = Vec::with_capacity(batch_max.min(jobs.len() + 1));
        batch.extend(handler.accept(first));
        while batch.len() < batch_max
            && let Ok(job) = jobs.try_recv()
        {
            batch.extend(handler.accept(job));
        }
        handler.note_pending(jobs.len());
        let size = batch.len();
        if size == 0 {
            caught("the end of an empty batch panicked", async { handler.without_batch().await })
                .await;
            continue;
        }
        let error = "a batch panicked; its jobs have failed";
        caught(error, async { handler.run(batch).await }).await;
    }
}

/// Runs the work to its end. If it panics, logs the error.
async fn caught(error: &str, work: impl Future<Output = ()>) {
    if AssertUnwindSafe(work).catch_unwind().await.is_err() {
        log::error!("{error}");
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    const LIMITS: BatcherLimits = BatcherLimits { batch_max: 3, pending_max: 5 };

    type Reply = oneshot::Sender<Vec<u32>>;

    /// Starts a batcher that answers each job with the numbers of its batch, and panics if one of them is 13.
    fn start() -> Batcher<(u32, Reply)> {
        Batcher::start(LIMITS, |batch: Vec<(u32, Reply)>| async move {
            let numbers: Vec<u32> = batch.iter().map(|(number, _)| *number).collect();
            assert!(!numbers.contains(&13), "injected panic");
            for (_, reply) in batch {
                reply.send(numbers.clone()).unwrap();
            }
        })
    }

    fn push(batcher: &Batcher<(u32, Reply)>, number: u32) -> oneshot::Receiver<Vec<u32>> {
        let (reply, answer) = oneshot::channel();
        batcher.push((number, reply)).unwrap();
        answer
    }

    #[tokio::test]
    async fn jobs_run_in_order_in_batches_of_a_bounded_size() {
        let batcher = start();
        let answers: Vec<_> = (0..5).map(|number| push(&batcher, number)).collect();
        let mut batches = Vec::new();
        for answer in answers {
            batches.push(answer.await.unwrap());
        }
        batches.dedup();
        assert_eq!(batches, [vec![0, 1, 2], vec![3, 4]]);
    }

    #[tokio::test]
    async fn a_panic_fails_the_jobs_of_its_batch_alone() {
        let batcher = start();
        let failed = [push(&batcher, 1), push(&batcher, 13), push(&batcher, 2)];
        let next = push(&batcher, 3);
        for answer in failed {
            assert!(answer.await.is_err());
        }
        assert_eq!(next.await.unwrap(), [3]);
        assert!(batcher.is_idle());
    }

    #[tokio::test]
    async fn jobs_over_the_bound_are_refused_and_none_is_admitted_after_closing() {
        let batcher = start();
        let admitted: Vec<_> = (0..5).map(|number| push(&batcher, number)).collect();
        let (reply, _answer) = oneshot::channel();
        assert_eq!(batcher.push((6, reply)), Err(AdmissionError::Full));
        batcher.close();
        let (reply, _answer) = oneshot::channel();
        assert_eq!(batcher.push((6, reply)), Err(AdmissionError::Closed));
        for answer in admitted {
            assert!(answer.await.is_ok(), "an admitted job is run");
        }
    }

    /// Accepts even numbers, and holds the permits of all its batches.
    struct PermitHolder(Vec<Admitted<(u32, Reply)>>);

    impl BatchHandler<(u32, Reply)> for PermitHolder {
        fn accept(&mut self, job: Admitted<(u32, Reply)>) -> Option<Admitted<(u32, Reply)>> {
            job.job.0.is_multiple_of(2).then_some(job)
        }

        async fn run(&mut self, batch: Vec<Admitted<(u32, Reply)>>) {
            assert_eq!(batch.len(), 3, "a batch contains accepted jobs only");
            self.0.extend(batch);
        }
    }

    /// Waits before each batch until the test lets it continue; accepts even numbers, and counts the batches without any.
    struct Waiting {
        turns: Arc<Semaphore>,
        empty: Arc<Semaphore>,
    }

    impl BatchHandler<(u32, Reply)> for Waiting {
        fn accept(&mut self, job: Admitted<(u32, Reply)>) -> Option<Admitted<(u32, Reply)>> {
            job.job.0.is_multiple_of(2).then_some(job)
        }

        async fn before_batch(&mut self) {
            self.turns.acquire().await.unwrap().forget();
        }

        async fn without_batch(&mut self) {
            self.empty.add_permits(1);
        }

        async fn run(&mut self, batch: Vec<Admitted<(u32, Reply)>>) {
            let numbers: Vec<u32> = batch.iter().map(|admitted| admitted.job.0).collect();
            for admitted in batch {
                admitted.job.1.send(numbers.clone()).unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_batch_has_every_job_that_arrived_while_it_was_prepared() {
        let turns = Arc::new(Semaphore::new(0));
        let empty = Arc::new(Semaphore::new(0));
        let handler = Waiting { turns: Arc::clone(&turns), empty: Arc::clone(&empty) };
        let batcher = Batcher::start(LIMITS, handler);
        let first = push(&batcher, 2);
        tokio::task::yield_now().await;
        let second = push(&batcher, 4);
        turns.add_permits(1);
        assert_eq!(first.await.unwrap(), [2, 4]);
        assert_eq!(second.await.unwrap(), [2, 4]);
        let odd = push(&batcher, 1);
        turns.add_permits(1);
        assert!(odd.await.is_err());
        empty.acquire().await.unwrap().forget();
        assert_eq!(empty.available_permits(), 0);
    }

    #[tokio::test]
    async fn a_job_counts_against_the_bound_until_its_permit_is_dropped() {
        let batcher = Batcher::start(LIMITS, PermitHolder(Vec::new()));
        let _answers = [0, 1, 2, 3, 4].map(|number| push(&batcher, number));
        while batcher.admission.available_permits() != 2 {
            tokio::task::yield_now().await;
        }
        assert!(!batcher.is_idle());
    }
}
