//! The seats that the banner's commands name: two that are free now, in a schedule that is on sale.

use seatlock::domain::execution_error::StoreError;
use seatlock::domain::ids::ScheduleId;
use seatlock::domain::seat::status_name;
use seatlock::http::Services;

use crate::cli::now;

/// The most schedules that are read; each may have 100,000 seats.
const SCHEDULES_MAX: usize = 20;

/// A schedule for the commands of the banner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExampleSchedule {
    /// The schedule.
    pub(super) id: ScheduleId,
    /// The labels of two free seats, if it has two and is on sale.
    pub(super) seats: Option<[String; 2]>,
}

/// The first schedule that sells two seats now, or else the first schedule; `None` if there is no schedule.
pub(super) async fn find(services: &Services) -> Result<Option<ExampleSchedule>, StoreError> {
    let catalogue = &services.catalogue;
    let mut first = None;
    let mut remaining = SCHEDULES_MAX;
    for event in catalogue.events(None, SCHEDULES_MAX).await?.items {
        if remaining == 0 {
            break;
        }
        let page = catalogue.schedules(event.id, None, remaining).await?;
        for schedule in page.map(|page| page.items).unwrap_or_default() {
            let is_on_sale = schedule.rules.on_sale(now());
            let seats = if is_on_sale { free_seats(services, schedule.id).await? } else { None };
            let example = ExampleSchedule { id: schedule.id, seats };
            if example.seats.is_some() {
                return Ok(Some(example));
            }
            first.get_or_insert(example);
            remaining -= 1;
        }
    }
    Ok(first)
}

async fn free_seats(
    services: &Services,
    id: ScheduleId,
) -> Result<Option<[String; 2]>, StoreError> {
    let Some(loaded) = services.seat_maps.schedule(id).await? else { return Ok(None) };
    let states = services.seat_maps.states(&loaded, 0).await?.states;
    let seats = loaded.layout.seats().zip(&states.codes);
    let mut free = seats
        .filter(|(_, code)| status_name(**code) == Some("available"))
        .map(|((_, placed), _)| placed.label.to_owned());
    Ok(free.next().zip(free.next()).map(|(one, other)| [one, other]))
}
