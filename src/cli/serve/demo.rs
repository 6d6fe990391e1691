//! The demo event of an empty SQLite database.

use std::time::Duration;

use seatlock::config::Config;
use seatlock::domain::catalogue::{NewSchedule, PlanSource};
use seatlock::domain::clock::EpochMs;
use seatlock::domain::plan::{InlineSection, SeatPlan};
use seatlock::domain::rules::ScheduleRules;
use seatlock::http::responses::{render_event, render_schedule};
use seatlock::service::catalogue::Catalogue;

use crate::cli::{done, now};

const NAME: &str = "Demo concert";

/// The time until the demo event, long enough that the event is not over when the demo is used.
const TIME_UNTIL_EVENT: Duration = Duration::from_secs(365 * 24 * 3_600);

const HOUR_MS: i64 = 3_600_000;

/// Creates the demo event and its schedule, unless there is an event already.
pub(super) async fn enter_if_empty(catalogue: &Catalogue, config: &Config) -> Result<(), String> {
    let failed = |reason| format!("the demo event could not be created: {reason}");
    let events = catalogue.events(None, 1).await.map_err(|error| failed(error.to_string()))?;
    if !events.items.is_empty() {
        return Ok(());
    }
    let plan = plan().map_err(failed)?;
    let event = catalogue.create_event(NAME.to_owned(), None, render_event).await;
    let event = done(event).map_err(failed)?.id;
    let rules = ScheduleRules::usual(config.reservation.hold_ttl);
    let new = NewSchedule { event, starts_at: starts_at(now()), rules };
    let schedule =
        catalogue.create_schedule(new, PlanSource::Inline(plan), None, render_schedule).await;
    let schedule = done(schedule).map_err(failed)?;
    log::info!("the database was empty: created \"{NAME}\" with {} seats for sale", schedule.seats);
    Ok(())
}

fn plan() -> Result<SeatPlan, String> {
    let section = |name: &str, rows, price| InlineSection {
        name: name.to_owned(),
        rows,
        seats_per_row: 20,
        price,
        ..InlineSection::default()
    };
    let sections = [section("Stalls", 10, 4_900), section("Balcony", 5, 2_900)];
    SeatPlan::from_inline(&sections)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

/// A year from now, on the hour.
fn starts_at(now: EpochMs) -> EpochMs {
    let time = now.plus(TIME_UNTIL_EVENT).0;
    EpochMs(time - time.rem_euclid(HOUR_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_has_three_hundred_seats_in_two_sections() {
        let plan = plan().unwrap();
        let names: Vec<&str> =
            plan.sections().iter().map(|section| section.name.as_str()).collect();
        assert_eq!((plan.seat_count(), names), (300, vec!["Stalls", "Balcony"]));
    }

    #[test]
    fn the_demo_starts_on_the_hour_a_year_from_now() {
        let start = starts_at(EpochMs(1_763_812_496_789));
        assert_eq!(start.0 % HOUR_MS, 0);
        assert_eq!(start.0 - 1_763_812_496_789 - 365 * 24 * HOUR_MS, -3_296_789);
    }
}
