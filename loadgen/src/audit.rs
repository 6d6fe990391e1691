//! The audit after a measurement: compares what was confirmed with the maps and bookings of the service.

use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Run;
use crate::http::Connection;
use crate::ledger::Ledger;
use crate::report::counted;
use crate::violations::Violations;

/// A map may be older than the last commit for a moment; so a difference counts only if it is still there after
/// these readings.
const READINGS: usize = 5;
const BETWEEN_READINGS: Duration = Duration::from_millis(400);

/// The most bookings that are read by their id.
const BOOKINGS_READ_MAX: usize = 100;

/// The result of an audit.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    bookings: usize,
    seats: usize,
    schedules: usize,
    bookings_read: usize,
    pub(crate) violations: Violations,
}

/// The states of a schedule, as far as they are compared.
#[derive(Deserialize)]
pub(crate) struct AvailabilityBody<'a> {
    counts: Counts,
    states: &'a str,
}

#[derive(Deserialize)]
struct Counts {
    booked: usize,
}

impl AvailabilityBody<'_> {
    /// The state of each seat; up to three more at the end are available.
    pub(crate) fn states(&self) -> io::Result<Vec<u8>> {
        let packed = STANDARD.decode(self.states).map_err(io::Error::other)?;
        Ok(packed.iter().flat_map(|byte| [0, 2, 4, 6].map(|shift| byte >> shift & 3)).collect())
    }
}

/// Compares the ledger of a run with the service.
///
/// # Errors
/// A reading that failed.
pub(crate) async fn audit(run: &Run) -> io::Result<Audit> {
    let mut ledger = run.ledger.take();
    ledger.close();
    let mut connection = run.api.connect().await?;
    let mut found = Violations::default();
    for schedule in 0..run.sale.schedules.len() {
        for reading in 1..=READINGS {
            let mut differences = Violations::default();
            compare_map(run, &ledger, &mut connection, schedule, &mut differences).await?;
            if differences.count == 0 || reading == READINGS {
                found.append(differences);
                break;
            }
            tokio::time::sleep(BETWEEN_READINGS).await;
        }
    }
    let step = ledger.bookings.len().div_ceil(BOOKINGS_READ_MAX).max(1);
    let read: Vec<_> = ledger.bookings.iter().step_by(step).collect();
    for booking in &read {
        let request = run.api.request(&format!("/api/v1/bookings/{}", booking.id), None, "");
        let answer = connection.send(&request).await?;
        Ledger::compare_booking(booking, answer, &mut found);
    }
    let mut audit = Audit {
        bookings: ledger.bookings.len(),
        seats: ledger.booked_seats(),
        schedules: run.sale.schedules.len(),
        bookings_read: read.len(),
        violations: ledger.violations,
    };
    audit.violations.append(found);
    Ok(audit)
}

async fn compare_map(
    run: &Run,
    ledger: &Ledger,
    connection: &mut Connection,
    schedule: usize,
    found: &mut Violations,
) -> io::Result<()> {
    let id = run.sale.id(schedule);
    let request = run.api.request(&format!("/api/v1/schedules/{id}/availability"), None, "");
    let body: AvailabilityBody<'_> = connection.send(&request).await?.json()?;
    let states = body.states()?;
    ledger.compare(schedule, id, &states, found);
    let (counted, booked) =
        (body.counts.booked, states.iter().filter(|state| **state == 2).count());
    if counted != booked {
        found.add(|| format!("the map of schedule {id} counts {counted} of {booked} booked seats"));
    }
    Ok(())
}

impl Audit {
    pub(crate) fn document(&self) -> Value {
        json!({
            "bookings": self.bookings,
            "seats": self.seats,
            "schedules": self.schedules,
            "bookings_read": self.bookings_read,
            "violations": self.violations.count,
            "described": self.violations.described,
        })
    }

    /// Adds the figures of another audit.
    pub(crate) fn add(&mut self, other: &Self) {
        self.bookings += other.bookings;
        self.seats += other.seats;
        self.schedules += other.schedules;
        self.bookings_read += other.bookings_read;
        self.violations.count += other.violations.count;
    }

    /// A sentence on what was compared; `None` if nothing was.
    pub(crate) fn text(&self) -> Option<String> {
        let Self { bookings, seats, schedules, bookings_read, violations } = self;
        let text = format!(
            "audit: {} of {} compared with the {} of {}, and {} by id: {}",
            counted(*bookings, "booking"),
            counted(*seats, "seat"),
            if *schedules == 1 { "map" } else { "maps" },
            counted(*schedules, "schedule"),
            counted(*bookings_read, "booking"),
            counted(violations.count, "violation"),
        );
        (*schedules > 0).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_two_bits_each() {
        // Seats 0 to 4: available, held, booked, blocked, booked.
        let states = STANDARD.encode([0b11_10_01_00, 0b10]);
        let body = AvailabilityBody { counts: Counts { booked: 2 }, states: &states };
        assert_eq!(body.states().unwrap(), [0, 1, 2, 3, 2, 0, 0, 0]);
    }
}
