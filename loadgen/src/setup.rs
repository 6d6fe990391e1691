//! What a measurement needs before it begins: schedules, and stored bookings.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use serde_json::{Value, json};

use crate::arguments::{SEATS_PER_ROW, Target};
use crate::audit::AvailabilityBody;
use crate::http::{Answer, Api};
use crate::ledger::Ledger;
use crate::progress::Progress;
use crate::sale::Sale;
use crate::settings::Settings;
use crate::tally::Recorder;
use crate::{Run, closed_loop};

/// The default of `max_seats_per_booking`.
const SEATS_PER_BOOKING: usize = 10;

/// Creates the schedules and stores bookings in them.
pub(crate) async fn prepare(
    settings: Settings,
    api: Api,
    progress: &Rc<Progress>,
) -> io::Result<Run> {
    let schedules = match settings.target {
        Target::Seatlock if settings.existing.is_empty() => {
            create_schedules(&settings, &api, progress).await?
        }
        Target::Seatlock => settings.existing.iter().map(u64::to_string).collect(),
        Target::Reference => (1..=settings.schedules).map(|id| id.to_string()).collect(),
    };
    let mut ledger = Ledger::new(schedules.len(), settings.schedule_seats);
    if settings.target == Target::Seatlock {
        load_maps(&settings, &api, &schedules, &mut ledger).await?;
    }
    let sale = Sale::new(settings.clone(), schedules);
    let (progress, ledger) = (Rc::clone(progress), RefCell::new(ledger));
    if settings.stored == 0 {
        return Ok(Run { settings, api, sale, ledger, progress });
    }
    let plain = Settings { keyed: false, hold: false, queued: false, ..settings.clone() };
    let storing = Rc::new(Run { settings: plain, api, sale, ledger, progress });
    store(&storing).await?;
    let storing = Rc::into_inner(storing);
    let run = storing.ok_or_else(|| io::Error::other("a stored booking is not finished"))?;
    Ok(Run { settings, ..run })
}

/// Creates the schedules, and returns their ids.
async fn create_schedules(
    settings: &Settings,
    api: &Api,
    progress: &Progress,
) -> io::Result<Vec<String>> {
    let mut connection = api.connect().await?;
    let event = api.request("/api/v1/events", Some(r#"{"name":"bench"}"#), "");
    let event = id_of(connection.send(&event).await?)?;
    let mut schedule = json!({
        "starts_at": "2030-01-01T20:00:00Z",
        "max_seats_per_booking": settings.seats.max(SEATS_PER_BOOKING),
        "seat_plan": {"sections": [{
            "name": "A",
            "rows": settings.schedule_seats / SEATS_PER_ROW,
            "seats_per_row": SEATS_PER_ROW,
            "price": 1000,
        }]},
    });
    if let (Some(limit), Some(fields)) = (settings.limit, schedule.as_object_mut()) {
        fields.insert("max_seats_per_customer".to_owned(), limit.into());
    }
    let schedule = schedule.to_string();
    let mut schedules = Vec::new();
    let count = settings.schedules + settings.additional_schedules();
    for number in 1..=count {
        progress.say(format!("{}: creating schedule {number} of {count}", settings.name));
        let path = format!("/api/v1/events/{event}/schedules");
        let request = api.request(&path, Some(&schedule), "");
        schedules.push(id_of(connection.send(&request).await?)?);
    }
    Ok(schedules)
}

/// Lets every process load the maps before the measurement, as in a sale that has been announced. Notes the seats that
/// are not available.
async fn load_maps(
    settings: &Settings,
    api: &Api,
    schedules: &[String],
    ledger: &mut Ledger,
) -> io::Result<()> {
    for _ in 0..api.processes() {
        let mut connection = api.connect().await?;
        for (number, id) in schedules.iter().enumerate() {
            let path = format!("/api/v1/schedules/{id}/availability");
            let answer = connection.send(&api.request(&path, None, "")).await?;
            let states = answer.json::<AvailabilityBody<'_>>()?.states()?;
            if states.len() < settings.schedule_seats {
                let text = format!("schedule {id} has fewer seats than --schedule-seats");
                return Err(io::Error::other(text));
            }
            ledger.begin_with(number, &states);
        }
    }
    Ok(())
}

fn id_of(answer: Answer<'_>) -> io::Result<String> {
    let body: Value = answer.json()?;
    let id = body.get("id").and_then(Value::as_str).map(str::to_owned);
    id.ok_or_else(|| io::Error::other(format!("status {}: {body}", answer.status)))
}

/// Stores bookings by the connections of the measurement. What comes in while a batch is written is the next batch.
async fn store(run: &Rc<Run>) -> io::Result<()> {
    let recorder = Rc::new(Recorder::new(&run.progress));
    let orders: Vec<_> = run.sale.stored_orders().collect();
    let wanted = orders.len() as u64;
    let storing = closed_loop::buy_all(run, orders.into_iter(), None, &recorder);
    run.progress.during("storing bookings", storing).await?;
    match recorder.total().succeeded() {
        stored if stored == wanted => Ok(()),
        stored => {
            let text = format!("only {stored} of {wanted} bookings could be stored");
            Err(io::Error::other(text))
        }
    }
}
