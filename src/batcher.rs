//! What gathers while work is under way is worked on together.

use std::future::Future;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A bounded line of jobs that a task works on, as many at a time as have gathered.
pub(crate) struct Gather<J> {
    line: mpsc::Sender<J>,
    task: JoinHandle<()>,
}

/// The line is full.
pub(crate) struct BatcherFull;

impl<J: Send + 'static> Gather<J> {
    /// Starts the task, in the tokio runtime of the caller: `work` is given up to `together` jobs at once,
    /// in order, and no more before it is done; at most `waiting` wait for it.
    pub(crate) fn start<F>(
        (together, waiting): (usize, usize),
        work: impl Fn(Vec<J>) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send,
    {
        let (line, mut jobs) = mpsc::channel(waiting);
        let task = tokio::spawn(async move {
            let mut gathered = Vec::with_capacity(together);
            while jobs.recv_many(&mut gathered, together).await > 0 {
                work(std::mem::take(&mut gathered)).await;
            }
        });
        Self { line, task }
    }

    /// Puts a job at the end of the line.
    pub(crate) fn push(&self, job: J) -> Result<(), BatcherFull> {
        self.line.try_send(job).map_err(|_| BatcherFull)
    }

    /// Works no more; what waits is dropped.
    pub(crate) fn stop(&self) {
        self.task.abort();
    }
}

impl<J> Drop for Gather<J> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
