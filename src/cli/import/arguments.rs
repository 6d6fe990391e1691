//! The command line of `import`, and the checked import that it describes.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use seatlock::config::ReservationConfig;
use seatlock::domain::clock::EpochMs;
use seatlock::domain::currency::{self, is_currency};
use seatlock::domain::ids::EventId;
use seatlock::domain::name;
use seatlock::domain::plan::SEATS_MAX;
use seatlock::domain::rules::{
    EVENT_NAME_MAX, PLAN_ID_MAX, PLAN_ID_RULE, SEATS_PER_BOOKING_MAX, ScheduleRules, is_plan_id,
    is_plan_id_byte,
};
use seatlock::formats::pretix::IdFrom;
use seatlock::formats::prices::Prices;

use super::plan::Format;

/// The name of the standard input.
pub(super) const STANDARD_INPUT: &str = "-";

#[derive(Debug, clap::Args)]
pub(crate) struct ImportArguments {
    /// The plan: a file, or - for the standard input
    pub(super) plan: PathBuf,
    /// The event: the id of an existing event (only digits), or the name of a new event
    #[arg(long, value_parser = event, required_unless_present = "dry_run")]
    event: Option<EventChoice>,
    /// When the performance begins, like 2027-05-01T20:00:00+02:00 (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time, required_unless_present = "dry_run")]
    starts_at: Option<EpochMs>,
    /// A price in minor units: 9900 for all seats, "Category I=9900" for those of a category;
    /// may be repeated
    #[arg(long = "price", value_name = "PRICE")]
    prices: Vec<String>,
    /// The format of the plan [default: csv for a file of this extension, pretix otherwise]
    #[arg(long, value_enum)]
    format: Option<FormatName>,
    /// The source of seat labels in a pretix plan: guid, uuid or position [default: guid]
    #[arg(long, value_name = "SOURCE")]
    id_from: Option<IdFrom>,
    /// Check everything and write nothing; needs no database
    #[arg(long)]
    dry_run: bool,
    /// The id to store the plan under [default: the file's name]
    #[arg(long, value_name = "ID", value_parser = plan_id)]
    plan_id: Option<String>,
    /// The currency of all prices (ISO 4217)
    #[arg(long, value_name = "CODE", default_value = "EUR", value_parser = currency)]
    currency: String,
    /// When sales open [default: immediately]
    #[arg(long, value_name = "TIME", value_parser = time)]
    sales_open_at: Option<EpochMs>,
    /// When sales close [default: never]
    #[arg(long, value_name = "TIME", value_parser = time)]
    sales_close_at: Option<EpochMs>,
    /// The most seats in one hold or booking, at most 1000 [default: 10]
    #[arg(long, value_name = "SEATS", value_parser = clap::value_parser!(u32).range(1..=SEATS_PER_BOOKING_MAX.into()))]
    max_seats_per_booking: Option<u32>,
    /// The most held and booked seats of one customer [default: no limit]
    #[arg(long, value_name = "SEATS", value_parser = clap::value_parser!(u32).range(1..=SEATS_MAX as i64))]
    max_seats_per_customer: Option<u32>,
    /// Lifetime of a hold whose request sets none [default: HOLD_TTL]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    hold_ttl_s: Option<u64>,
}

/// The formats of plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FormatName {
    /// One line for each seat, below a header like section,row,number,price
    Csv,
    /// A pretix seating plan in JSON
    Pretix,
}

/// The event of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EventChoice {
    /// An existing event.
    Existing(EventId),
    /// A new event with this name.
    New(String),
}

/// What an import creates: the event, the schedule and the id of the plan.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ImportRequest {
    pub(super) event: EventChoice,
    pub(super) starts_at: EpochMs,
    pub(super) rules: ScheduleRules,
    pub(super) plan_id: String,
}

impl ImportArguments {
    /// The import; `None` for a dry run, whose arguments are checked too.
    pub(super) fn request(
        &self,
        limits: &ReservationConfig,
    ) -> Result<Option<ImportRequest>, String> {
        let rules = self.rules(limits.hold_ttl, limits.hold_ttl_max)?;
        match (&self.event, self.starts_at) {
            (Some(event), Some(starts_at)) if !self.dry_run => {
                let given = self.plan_id.clone();
                let plan_id = given.unwrap_or_else(|| plan_id_of(&self.plan));
                Ok(Some(ImportRequest { event: event.clone(), starts_at, rules, plan_id }))
            }
            _ => Ok(None),
        }
    }

    pub(super) fn prices(&self) -> Result<Prices, String> {
        Prices::parse(&self.prices).map_err(|problems| problems.join("\n"))
    }

    /// The format of the plan.
    pub(super) fn format(&self) -> Result<Format, String> {
        let extension = self.plan.extension().and_then(OsStr::to_str).unwrap_or_default();
        let is_csv = extension.eq_ignore_ascii_case("csv");
        let by_name = if is_csv { FormatName::Csv } else { FormatName::Pretix };
        match (self.format.unwrap_or(by_name), self.id_from) {
            (FormatName::Pretix, id_from) => Ok(Format::Pretix(id_from.unwrap_or_default())),
            (FormatName::Csv, None) => Ok(Format::Csv),
            (FormatName::Csv, Some(_)) => {
                Err("--id-from is for pretix plans: CSV has labels in a column of its own".into())
            }
        }
    }

    /// The name of the plan in messages.
    pub(super) fn plan_name(&self) -> String {
        if self.plan == Path::new(STANDARD_INPUT) {
            "the standard input".to_owned()
        } else {
            self.plan.display().to_string()
        }
    }

    fn rules(&self, hold_ttl: Duration, hold_ttl_max: Duration) -> Result<ScheduleRules, String> {
        if let (Some(open), Some(close)) = (self.sales_open_at, self.sales_close_at)
            && open >= close
        {
            return Err("--sales-close-at must be later than --sales-open-at".to_owned());
        }
        let hold_ttl = self.hold_ttl_s.map_or(hold_ttl, Duration::from_secs);
        if hold_ttl > hold_ttl_max {
            let most = hold_ttl_max.as_secs();
            return Err(format!("--hold-ttl-s may be at most {most}, which is HOLD_TTL_MAX"));
        }
        let usual = ScheduleRules::usual(hold_ttl);
        Ok(ScheduleRules {
            sales_open_at: self.sales_open_at,
            sales_close_at: self.sales_close_at,
            max_seats_per_booking: self
                .max_seats_per_booking
                .unwrap_or(usual.max_seats_per_booking),
            max_seats_per_customer: self.max_seats_per_customer,
            currency: self.currency.clone(),
            ..usual
        })
    }
}

fn event(text: &str) -> Result<EventChoice, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        let wrong = |_| "an event's id has no leading zero and is at least 1".to_owned();
        return text.parse().map(EventChoice::Existing).map_err(wrong);
    }
    let checked = name::check(text, EVENT_NAME_MAX);
    checked.map(|()| EventChoice::New(text.to_owned())).map_err(|fault| format!("the name {fault}"))
}

fn time(text: &str) -> Result<EpochMs, String> {
    seatlock::http::time::read(text).map_err(|wrong| wrong.to_string())
}

fn currency(text: &str) -> Result<String, String> {
    is_currency(text).then(|| text.to_owned()).ok_or_else(|| currency::REMEDY.to_owned())
}

fn plan_id(text: &str) -> Result<String, String> {
    let wrong = || format!("the id of a plan {PLAN_ID_RULE}");
    is_plan_id(text).then(|| text.to_owned()).ok_or_else(wrong)
}

/// The default id of a plan: the file's name without its extension, with unusual characters replaced.
fn plan_id_of(file: &Path) -> String {
    let stem = match file.file_stem() {
        Some(stem) if file != Path::new(STANDARD_INPUT) => stem.to_string_lossy(),
        _ => "stdin".into(),
    };
    let is_safe = |character: char| u8::try_from(character).is_ok_and(is_plan_id_byte);
    let safe = |character| if is_safe(character) { character } else { '-' };
    let id: String = stem.chars().map(safe).take(PLAN_ID_MAX).collect();
    if is_plan_id(&id) { id } else { "plan".to_owned() }
}

#[cfg(test)]
mod tests;
