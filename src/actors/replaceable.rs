//! The address of an actor that is replaced when it dies.
//!
//! actix's `Supervisor` restarts an actor that stops, but not one that panics: its address is dead for
//! ever. Whoever finds it dead starts another in its place.

use std::sync::{Arc, PoisonError, RwLock};

use actix::prelude::*;

use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::actor::Actor as ActorName;

/// An address that outlives its actor.
pub(crate) struct Replaceable<A: Actor> {
    name: ActorName,
    metrics: Arc<Metrics>,
    start: Box<dyn Fn() -> Addr<A> + Send + Sync>,
    current: RwLock<Addr<A>>,
}

impl<A: Actor<Context = Context<A>>> Replaceable<A> {
    pub(crate) fn start(
        name: ActorName,
        metrics: Arc<Metrics>,
        start: impl Fn() -> Addr<A> + Send + Sync + 'static,
    ) -> Self {
        let current = RwLock::new(start());
        Self { name, metrics, start: Box::new(start), current }
    }

    /// Puts a message into the mailbox. The mailbox has no bound of its own; the door must have one.
    pub(crate) fn tell<M>(&self, message: M)
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
    {
        self.living().do_send(message);
    }

    /// Whether the actor lives; if not, it is replaced, and the next call says yes.
    pub(crate) fn check(&self) -> bool {
        let alive = self.read().connected();
        self.living();
        alive
    }

    fn read(&self) -> Addr<A> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn living(&self) -> Addr<A> {
        let address = self.read();
        if address.connected() {
            return address;
        }
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if !current.connected() {
            log::error!("the {} actor died and is replaced", self.name.as_ref());
            self.metrics.actor.restarted(self.name);
            *current = (self.start)();
        }
        current.clone()
    }
}
