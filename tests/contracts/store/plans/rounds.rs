//! Batches of every kind of command.

use seatlock::domain::command::{Action, Command};
use seatlock::domain::ids::{BlockId, HoldId, SeatNumber};
use test_support::Strike;

use super::super::commands::{
    block, blocked, book, booked, cancel, command, confirm, held, hold, is_done, keyed,
};
use super::super::stage::{CommandResult, run};
use super::site::{Site, customer};

fn drop_result(_: &CommandResult) {}

fn release(hold: HoldId) -> Command {
    command(hold.schedule, Action::Release { hold })
}

fn unblock(block: BlockId) -> Command {
    command(block.schedule, Action::Unblock { block })
}

impl Site {
    /// Runs these commands as one batch, all of which must be done. Returns what `id` reads from the results.
    async fn batch<T>(
        &self,
        commands: impl Iterator<Item = Command>,
        id: impl Fn(&CommandResult) -> T,
    ) -> Vec<T> {
        let results = self.stage.run(commands.collect()).await;
        assert!(results.iter().all(is_done), "{results:?}");
        results.iter().map(id).collect()
    }

    /// Runs a batch of every kind of command, under a limit per customer and mostly under keys. Afterwards all seats
    /// are free again.
    pub(super) async fn round(&self, name: &str) {
        let schedule = self.schedule;
        let key = |kind: &str, n: u32| format!("{name} {kind} {n}");
        let all = || 0..self.customers;
        let buy = |n| keyed(book(schedule, &[4 * n, 4 * n + 1], &customer(n)), &key("book", n));
        let bookings = self.batch(all().map(buy), |result| booked(result).row.id).await;
        let take = |n| keyed(hold(schedule, &[4 * n + 2], &customer(n)), &key("hold", n));
        let holds = self.batch(all().map(take), |result| held(result).row.id).await;
        let put = all().map(|n| block(schedule, &[4 * n + 3]));
        let blocks = self.batch(put, |result| blocked(result).row.id).await;

        let extend = |hold: &_| command(schedule, Action::Extend { hold: *hold, ttl: None });
        self.batch(holds.iter().map(extend), drop_result).await;
        let change = |hold: &HoldId, add: &[u32], remove: &[u32]| {
            let numbers = |seats: &[u32]| seats.iter().copied().map(SeatNumber).collect();
            let (add, remove) = (numbers(add), numbers(remove));
            command(schedule, Action::Change { hold: *hold, add, remove, version: None })
        };
        let spare = 4 * self.customers;
        let swap = holds.iter().zip(0..).map(|(id, n)| change(id, &[spare + n], &[4 * n + 2]));
        self.batch(swap, drop_result).await;
        let back = holds.iter().zip(0..).map(|(id, n)| change(id, &[4 * n + 2], &[spare + n]));
        self.batch(back, drop_result).await;
        let expire = |hold: &_| command(schedule, Action::Expire { hold: *hold });
        self.stage.run(holds.iter().map(expire).collect()).await;
        // Of an odd number, one more is confirmed than released.
        let (released, confirmed) = holds.split_at(holds.len() / 2);
        let sold = confirmed.iter().zip(0..).map(|(id, n)| keyed(confirm(*id), &key("confirm", n)));
        let sold = self.batch(sold, |result| booked(result).row.id).await;
        self.batch(released.iter().map(|id| release(*id)), drop_result).await;
        let look_up = |n| keyed(command(schedule, Action::Lookup), &key("book", n));
        self.stage.run(all().map(look_up).collect()).await;

        let part = bookings.iter().zip(0..).map(|(id, n)| cancel(*id, Some(&[4 * n])));
        self.batch(part, drop_result).await;
        let whole = bookings.iter().chain(&sold).map(|id| cancel(*id, None));
        self.batch(whole, drop_result).await;
        self.batch(blocks.iter().map(|id| unblock(*id)), drop_result).await;
    }

    /// Runs a batch whose seats other customers hold.
    pub(super) async fn conflicts(&self) {
        let take = (0..self.customers).map(|n| hold(self.schedule, &[4 * n], &customer(n)));
        let holds = self.batch(take, |result| held(result).row.id).await;
        let rival = (0..self.customers).map(|n| book(self.schedule, &[4 * n], &customer(n + 1)));
        assert!(!self.stage.run(rival.collect()).await.iter().any(is_done));
        self.batch(holds.iter().map(|id| release(*id)), drop_result).await;
    }

    /// Runs a batch in which half of the customers exchange all that they have: seats are given back and taken again.
    pub(super) async fn mixed(&self, name: &str) {
        let (schedule, some) = (self.schedule, 0..self.customers.div_ceil(2));
        let take = |n: u32| {
            let (seat, name) = (4 * n, customer(n));
            [
                book(schedule, &[seat], &name),
                hold(schedule, &[seat + 1], &name),
                hold(schedule, &[seat + 2], &name),
                block(schedule, &[seat + 3]),
            ]
        };
        let had = self.batch(some.clone().flat_map(take), CommandResult::clone).await;
        let exchange = had.chunks(4).zip(some).flat_map(|(had, n)| {
            let (seat, name) = (4 * n, customer(n));
            [
                cancel(booked(&had[0]).row.id, None),
                release(held(&had[2]).row.id),
                unblock(blocked(&had[3]).row.id),
                book(schedule, &[seat], &name),
                confirm(held(&had[1]).row.id),
                hold(schedule, &[seat + 2], &name),
                block(schedule, &[seat + 3]),
            ]
        });
        let key = |(command, n): (Command, u32)| keyed(command, &format!("{name} mixed {n}"));
        let has = self.batch(exchange.zip(0..).map(key), CommandResult::clone).await;
        let end = has.chunks(7).flat_map(|has| {
            [
                cancel(booked(&has[3]).row.id, None),
                cancel(booked(&has[4]).row.id, None),
                release(held(&has[5]).row.id),
                unblock(blocked(&has[6]).row.id),
            ]
        });
        self.batch(end, drop_result).await;
    }

    /// Runs batches of two stores alternately, which then take turns.
    pub(super) async fn turns(&self) {
        let mut turns = 0;
        for lane in [&self.stage.lane, &self.lane, &self.stage.lane, &self.lane, &self.stage.lane] {
            turns += u32::from(lane.lock().await.take_turn().await);
            let buy = [1, 2].map(|seat| book(self.elsewhere, &[seat], &format!("rival {seat}")));
            let bought = run(lane, buy.to_vec()).await;
            let cancelled = bought.iter().map(|bought| cancel(booked(bought).row.id, None));
            let cancelled = run(lane, cancelled.collect()).await;
            assert!(cancelled.iter().all(is_done), "{cancelled:?}");
        }
        assert!(turns > 0, "no lane has waited for its turn");
    }

    /// Runs a batch whose COMMIT has no answer, after a time without heartbeats.
    pub(super) async fn trouble(&self) {
        self.stage.database.execute("UPDATE heartbeat SET beat_at = beat_at - 2000").await;
        self.stage.run(vec![keyed(command(self.schedule, Action::Lookup), "unknown")]).await;
        self.stage.database.execute("UPDATE heartbeat SET beat_at = beat_at - 5000").await;
        self.relay.strike_commit(Strike::AnswerLost);
        let bought = run(&self.lane, vec![book(self.elsewhere, &[3], "anna")]).await;
        assert!(self.relay.has_struck() && is_done(&bought[0]), "{bought:?}");
        let cancelled = run(&self.lane, vec![cancel(booked(&bought[0]).row.id, None)]).await;
        assert!(is_done(&cancelled[0]), "{cancelled:?}");
    }
}
