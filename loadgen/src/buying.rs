//! How a customer buys the seats of an order: a booking, or a hold and its confirmation.

use std::cell::RefCell;
use std::io;
use std::time::Instant;

use crate::Run;
use crate::arguments::Target;
use crate::bodies::HoldBody;
use crate::http::Connection;
use crate::ledger::Ledger;
use crate::sale::Order;
use crate::tally::{Kind, Recorder};

/// The path of bookings.
pub(crate) const BOOKINGS: &str = "/api/v1/bookings";
const HOLDS: &str = "/api/v1/holds";

/// A request that is being sent. If it is dropped without an answer, its effect is not known.
struct Sent<'a> {
    ledger: &'a RefCell<Ledger>,
    order: &'a Order,
    is_answered: bool,
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.ledger.borrow_mut().unknown(self.order);
        }
    }
}

impl Run {
    /// Buys the seats of an order; returns the status of the last response. Latency counts from `due`.
    pub(crate) async fn buy(
        &self,
        connection: &mut Connection,
        order: &Order,
        due: Instant,
        recorder: &Recorder,
    ) -> io::Result<u16> {
        if !self.settings.hold {
            let body = self.sale.body(order);
            return self.book(connection, order, &body, (Kind::Booking, due), recorder).await;
        }
        match self.hold(connection, order, due, recorder).await? {
            Ok(hold) => self.confirm(connection, order, &hold, recorder).await,
            Err(status) => Ok(status),
        }
    }

    /// Holds the seats of an order; returns the id of the hold, or the status of another response.
    pub(crate) async fn hold(
        &self,
        connection: &mut Connection,
        order: &Order,
        due: Instant,
        recorder: &Recorder,
    ) -> io::Result<Result<String, u16>> {
        let request =
            self.api.request(HOLDS, Some(&self.sale.body(order)), &self.headers(order, Kind::Hold));
        let mut sent = Sent { ledger: &self.ledger, order, is_answered: false };
        let answer = connection.send(&request).await?;
        recorder.answered(Kind::Hold, answer.status, due.elapsed());
        if answer.status != 201 {
            sent.is_answered = !answer.may_have_an_effect();
            return Ok(Err(answer.status));
        }
        let id = answer.json::<HoldBody<'_>>()?.id.into_owned();
        sent.is_answered = true;
        self.ledger.borrow_mut().held(order);
        Ok(Ok(id))
    }

    /// Confirms the hold of an order.
    pub(crate) async fn confirm(
        &self,
        connection: &mut Connection,
        order: &Order,
        hold: &str,
        recorder: &Recorder,
    ) -> io::Result<u16> {
        let body = format!(r#"{{"hold_id":"{hold}"}}"#);
        self.book(connection, order, &body, (Kind::Confirmation, Instant::now()), recorder).await
    }

    async fn book(
        &self,
        connection: &mut Connection,
        order: &Order,
        body: &str,
        (kind, due): (Kind, Instant),
        recorder: &Recorder,
    ) -> io::Result<u16> {
        let request = self.api.request(BOOKINGS, Some(body), &self.headers(order, kind));
        let mut sent = Sent { ledger: &self.ledger, order, is_answered: false };
        let answer = connection.send(&request).await?;
        recorder.answered(kind, answer.status, due.elapsed());
        sent.is_answered = true;
        if self.settings.target == Target::Seatlock {
            self.ledger.borrow_mut().answered(order, answer);
        }
        Ok(answer.status)
    }

    /// The headers of a request. An Idempotency-Key contains the first schedule, which is new in each measurement.
    fn headers(&self, order: &Order, kind: Kind) -> String {
        let mut headers = String::new();
        if self.settings.keyed {
            let (process, schedule) = (std::process::id(), self.sale.id(0));
            let (number, kind) = (order.number, kind.name());
            headers = format!("idempotency-key: bench-{process:x}-{schedule}-{number}-{kind}\r\n");
        }
        if self.settings.queued {
            headers.push_str("prefer: respond-async\r\n");
        }
        headers
    }
}
