//! Which seats the banner's examples name: two that are free now, in a schedule that is on sale.

use seatlock::domain::catalogue::Schedule;
use seatlock::domain::execution_error::StoreError;
use seatlock::domain::ids::ScheduleId;
use seatlock::domain::seat::status_name;
use seatlock::http::Services;

use crate::cli::now;

/// Schedules looked at before giving up; each may have 100,000 seats to read.
const LOOKED_AT: usize = 20;

/// A schedule to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    /// The schedule.
    pub(super) schedule: ScheduleId,
    /// The labels of two free seats, if it has two and sells them now.
    pub(super) seats: Option<[String; 2]>,
}

/// The first schedule that sells two seats now; one to look at if there is none; nothing if there
/// is no schedule.
pub(super) async fn find(services: &Services) -> Result<Option<Offer>, StoreError> {
    let mut to_look_at = None;
    for schedule in schedules(services).await? {
        let seats = if schedule.rules.on_sale(now()) {
            free_seats(services, schedule.id).await?
        } else {
            None
        };
        let offer = Offer { schedule: schedule.id, seats };
        if offer.seats.is_some() {
            return Ok(Some(offer));
        }
        to_look_at.get_or_insert(offer);
    }
    Ok(to_look_at)
}

/// The first schedules there are.
async fn schedules(services: &Services) -> Result<Vec<Schedule>, StoreError> {
    let catalogue = &services.catalogue;
    let mut found = Vec::new();
    for event in catalogue.events(None, LOOKED_AT).await?.items {
        let wanted = LOOKED_AT - found.len();
        if wanted == 0 {
            break;
        }
        let page = catalogue.schedules(event.id, None, wanted).await?;
        found.extend(page.map(|page| page.items).unwrap_or_default());
    }
    Ok(found)
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
