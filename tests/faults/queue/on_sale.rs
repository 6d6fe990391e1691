//! An on-sale through the queue: processes that serve and do not execute, workers that execute, and the
//! queue between them, which is the database's.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use test_support::{Client, Service};

use crate::harness::{LONG, Scene, Setup, blocking, until};

use super::orders::{Ended, Order, Orders};

/// A worker logs this when a fault kills it.
const KILLED: &str = "a fault: Kill";

/// Two processes that serve, and workers.
pub(crate) struct OnSale {
    // Processes end before the servers they talk to.
    pub(crate) workers: Vec<Service>,
    pub(crate) scene: Scene,
    pub(crate) orders: Arc<Orders>,
    pub(crate) deaths: usize,
}

impl OnSale {
    /// Starts two processes that take requests and leave them to others; no workers yet.
    pub(crate) async fn start(setup: Setup) -> Self {
        let setup = setup.set("QUEUE_MODE", "prefer").set("QUEUE_CONSUME", "off");
        let setup = setup.set("DRAIN_DELAY", "200ms");
        let scene = setup.set("QUEUE_URL", "db://").processes(2).start().await;
        Self { workers: Vec::new(), scene, orders: Arc::default(), deaths: 0 }
    }

    /// Starts one more worker.
    pub(crate) async fn add_worker(&mut self, more: &[(&str, &str)]) {
        let worker = self.scene.start(&["worker"], more);
        begun(&worker).await;
        self.workers.push(worker);
    }

    /// Starts a worker in the place of one, which is killed if it still runs.
    pub(crate) async fn restart_worker(&self, number: usize, more: &[(&str, &str)]) {
        blocking(|| self.workers[number].restart(&self.scene.variables(more)));
        begun(&self.workers[number]).await;
    }

    /// Starts workers again that their fault has killed, each with the faults given next; gives how many.
    pub(crate) async fn bury(&mut self, mut next: impl FnMut() -> String) -> usize {
        let mut buried = 0;
        for number in 0..self.workers.len() {
            if !self.workers[number].process().is_running() {
                let output = self.workers[number].process().output();
                assert!(output.contains(KILLED), "it died by itself: {output}");
                self.restart_worker(number, &[("SEATLOCK_FAULTS", &next())]).await;
                buried += 1;
            }
        }
        self.deaths += buried;
        buried
    }

    /// The sum of a metric over the workers that run.
    pub(crate) async fn executed(&self, result: &str) -> f64 {
        let series = format!("seatlock_queue_executed_total{{result=\"{result}\"}}");
        join_all(self.workers.iter().map(|worker| metric(worker, &series))).await.iter().sum()
    }

    /// The processes that serve.
    pub(crate) fn clients(&self) -> [Client; 2] {
        [self.scene.client(0), self.scene.client(1)]
    }

    /// Sends orders, `together` at a time, each to either process, and each so many times.
    pub(crate) async fn crowd(&self, orders: Vec<Order>, together: usize, times: usize) {
        let clients = self.clients();
        for some in orders.chunks(together) {
            let sent = some.iter().map(|order| {
                let (first, clients) = (fastrand::usize(..2), &clients);
                async move {
                    for time in 0..if order.keyed { times } else { 1 } {
                        let client = &clients[(first + time) % 2];
                        self.orders.send(client, &self.scene.ledger, order).await;
                    }
                }
            });
            join_all(sent).await;
        }
    }

    /// Waits until every request has an outcome, then until no worker has paused a partition.
    pub(crate) async fn end(&self) -> Vec<Ended> {
        let database = self.scene.database().await;
        let ended = self.orders.end(&self.clients(), &self.scene.ledger, &database).await;
        for worker in &self.workers {
            let paused = || metric(worker, "seatlock_queue_paused_partitions");
            until("no partition is paused", LONG, async || paused().await == 0.0).await;
            let in_flight = || metric(worker, "seatlock_queue_in_flight");
            until("nothing is in flight", LONG, async || in_flight().await == 0.0).await;
        }
        assert_eq!(self.executed("parked").await, 0.0, "a dead letter");
        ended
    }

    /// Ends the scenario: the workers end in order, the tables are audited, what is free is sold.
    pub(crate) async fn finish(mut self) {
        for worker in &self.workers {
            worker.process().terminate();
        }
        for worker in self.workers.drain(..) {
            assert_eq!(worker.ended(Duration::from_secs(30)), 0, "{}", worker.process().output());
        }
        self.scene.finish().await;
    }

    /// The primary dies (kill -9) and is started again after a time.
    pub(crate) async fn primary_dies_for(&self, time: Duration, meanwhile: impl AsyncFnOnce()) {
        blocking(|| self.scene.primary.kill());
        let dead = std::time::Instant::now();
        meanwhile().await;
        tokio::time::sleep(time.saturating_sub(dead.elapsed())).await;
        blocking(|| self.scene.primary.restart());
    }
}

/// Waits until a worker is ready, or its fault has killed it already.
async fn begun(worker: &Service) {
    let ready = async || !worker.process().is_running() || worker.is_ready().await;
    until("a worker is ready", LONG, ready).await;
}

/// The value of a metric of a worker; 0 if it does not answer.
async fn metric(worker: &Service, series: &str) -> f64 {
    let answer = worker.client().try_send(worker.client().request(Method::GET, "/metrics")).await;
    answer.ok().and_then(|answer| answer.metric(series)).unwrap_or_default()
}

/// So many labels of one row.
pub(crate) fn seats(from: u32, count: u32) -> Vec<String> {
    (from..from + count).map(|seat| format!("A-1-{seat}")).collect()
}
