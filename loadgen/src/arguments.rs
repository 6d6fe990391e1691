//! The command line of `seatlock bench`, and the measurements that it asks for.

use std::ops::RangeInclusive;

use crate::open_loop::Phase;
use crate::settings::Settings;

/// The seats of a row of the schedules that are created.
pub(crate) const SEATS_PER_ROW: usize = 100;

/// The most seats of a schedule.
const SEATS_MAX: usize = 100_000;

/// `max_seats_per_customer` of the scenario `limited`.
const LIMIT: usize = 10;

/// The connections of a closed loop, and the most of an open loop with customers of several requests.
const CONNECTIONS: usize = 256;
const CONNECTIONS_ON_SALE: usize = 4_000;

/// The rates of the scenario `on-sale`: customers per second and seconds.
const ON_SALE: [Phase; 4] =
    [Phase::new(100, 4), Phase::new(300, 4), Phase::new(600, 8), Phase::new(300, 4)];

/// The command line of the measurement.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// What the customers do
    #[arg(value_enum, default_value_t = Scenario::Plain)]
    scenario: Scenario,
    /// Measure six ways of buying one after the other, each on new schedules, and compare them in one table:
    /// plain, keyed, limited, hold, the last three together, and plain on one connection
    #[arg(long, value_enum, conflicts_with_all = ["scenario", "keyed", "hold", "queued", "phases", "target"])]
    way: Option<Ways>,
    /// The address of a running service, which gets ADMIN_API_KEY of the environment; several processes of it are
    /// separated by commas, and used in turn. Without it the program starts a service of its own: default settings,
    /// SQLite in a temporary folder (TMPDIR chooses the disk), seat locks in the process. It is removed at the end
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// The number of connections, each with one request at a time; with phases, the largest number
    /// [default: 256; on-sale 4,000; stampede one for each customer]
    #[arg(long, value_name = "N", value_parser = positive)]
    connections: Option<usize>,
    /// The duration of a measurement [default: 8; 5 with --way]
    #[arg(long, value_parser = positive)]
    seconds: Option<usize>,
    /// The number of seats of one booking
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = positive)]
    seats: usize,
    /// The number of schedules that are created for the measurement [default: 20; 8 without
    /// --address; 4 with --way; on-sale 2]
    #[arg(long, value_name = "N", value_parser = positive)]
    schedules: Option<usize>,
    /// The number of schedules that are on sale at the same time; the next ones follow when these are sold out
    /// [default: all]
    #[arg(long, value_name = "N", value_parser = positive)]
    hot: Option<usize>,
    /// The number of seats of a schedule, in rows of 100
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = whole_rows)]
    schedule_seats: usize,
    /// Send an Idempotency-Key with every request
    #[arg(long)]
    keyed: bool,
    /// Hold the seats, then confirm the hold
    #[arg(long, conflicts_with_all = ["queued", "target"])]
    hold: bool,
    /// Create the schedules with this max_seats_per_customer; each customer then buys up to four times in a schedule,
    /// within the limit
    #[arg(long, value_name = "SEATS", value_parser = positive, conflicts_with = "target")]
    limit: Option<usize>,
    /// Bookings of one seat that are stored before the measurement, through the API by all connections: first in up to
    /// half of each measured schedule, the rest in additional schedules
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "target")]
    stored: usize,
    /// Send all requests through the queue; measures until the last of them is confirmed
    #[arg(long, conflicts_with = "target")]
    queued: bool,
    /// Bookings to skip in each schedule, for another run on the same seats
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: usize,
    /// Instead of a closed loop, phases of requests (on-sale: customers) per second and seconds, one after the other,
    /// such as `3000x10,15000x20,3000x10`
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["keyed", "hold", "queued", "seconds"])]
    phases: Vec<Phase>,
    /// The number of customers of a stampede
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = positive)]
    customers: usize,
    /// Sell the seats of a stampede before it, so that all customers are refused
    #[arg(long)]
    sold: bool,
    /// Sell existing schedules, such as `7-10,12`, instead of new ones. They must have --schedule-seats seats, in one
    /// section A with rows of 100; --offset skips the bookings that they have
    #[arg(long, value_name = "IDS", value_delimiter = ',', value_parser = ids,
        conflicts_with_all = ["way", "schedules", "limit", "stored", "target"], requires = "address")]
    existing: Vec<RangeInclusive<u64>>,
    /// The kind of service at the address
    #[arg(long, value_enum, default_value_t = Target::Seatlock, requires = "address")]
    target: Target,
    /// Print one JSON document instead of a table
    #[arg(long)]
    json: bool,
}

/// What the customers of a measurement do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Scenario {
    /// Book seats that no other request books
    Plain,
    /// The same, with an Idempotency-Key on every request
    Keyed,
    /// The same, with a limit of 10 seats per customer; customers buy again within the limit
    Limited,
    /// Hold the seats, then confirm the hold
    Hold,
    /// All customers ask for the same seat at the same moment, five times
    Stampede,
    /// Customers come faster and faster, read the map, hold free seats and confirm most of the holds
    OnSale,
    /// Readers ask for maps with the tag of their last answer, while some seats are sold
    Browse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Ways {
    /// All six
    All,
}

/// The API of the measured service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Target {
    Seatlock,
    Reference,
}

impl Arguments {
    /// The address of the service, unless the program starts its own.
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// Whether the result is printed as JSON.
    #[must_use]
    pub fn json(&self) -> bool {
        self.json
    }

    /// Whether bookings go through the queue.
    #[must_use]
    pub fn queued(&self) -> bool {
        self.queued
    }

    /// The measurements, in their order.
    ///
    /// # Errors
    /// Which options contradict each other.
    pub fn measurements(&self) -> Result<Vec<Settings>, String> {
        let all = match self.way {
            None => vec![self.of(self.scenario)],
            Some(Ways::All) => self.all_ways(),
        };
        all.iter().try_for_each(Settings::check)?;
        Ok(all)
    }

    fn of(&self, scenario: Scenario) -> Settings {
        use Scenario::{Hold, Keyed, Limited, OnSale, Stampede};
        let connections = match scenario {
            Stampede => self.customers,
            OnSale => CONNECTIONS_ON_SALE,
            _ => CONNECTIONS,
        };
        let schedules = match scenario {
            Stampede => 1,
            OnSale => 2,
            _ if self.way.is_some() => 4,
            _ if self.address.is_none() => 8,
            _ => 20,
        };
        let existing: Vec<_> = self.existing.iter().cloned().flatten().collect();
        let schedules = match existing.len() {
            0 => self.schedules.unwrap_or(schedules),
            count => count,
        };
        let seconds = self.seconds.unwrap_or(if self.way.is_some() { 5 } else { 8 });
        let is_ramp = scenario == OnSale && self.phases.is_empty();
        Settings {
            name: scenario_name(scenario),
            scenario,
            target: self.target,
            connections: self.connections.unwrap_or(connections),
            seconds: seconds as u64,
            seats: if scenario == Stampede { 1 } else { self.seats },
            schedules,
            hot: self.hot.unwrap_or(schedules),
            schedule_seats: self.schedule_seats,
            keyed: self.keyed || scenario == Keyed,
            hold: self.hold || scenario == Hold,
            limit: self.limit.or((scenario == Limited).then_some(LIMIT)),
            stored: self.stored,
            queued: self.queued,
            offset: self.offset,
            phases: if is_ramp { ON_SALE.to_vec() } else { self.phases.clone() },
            customers: self.customers,
            sold: self.sold,
            existing,
        }
    }

    /// The ways of buying side by side. `--limit` is that of the limited ways.
    fn all_ways(&self) -> Vec<Settings> {
        let limited = self.of(Scenario::Limited);
        let unlimited = |scenario| Settings { limit: None, ..self.of(scenario) };
        vec![
            unlimited(Scenario::Plain),
            unlimited(Scenario::Keyed),
            limited.clone(),
            unlimited(Scenario::Hold),
            Settings { name: "keyed+limited+hold".to_owned(), keyed: true, hold: true, ..limited },
            Settings {
                name: "one connection".to_owned(),
                connections: 1,
                schedules: 1,
                hot: 1,
                ..unlimited(Scenario::Plain)
            },
        ]
    }
}

fn scenario_name(scenario: Scenario) -> String {
    use clap::ValueEnum as _;
    scenario.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn positive(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "give a number above 0".to_owned())
}

/// An id, or the first and the last one of several.
fn ids(text: &str) -> Result<RangeInclusive<u64>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok(first..=last),
        _ => Err("give ids, such as 7 or 7-10".to_owned()),
    }
}

fn whole_rows(text: &str) -> Result<usize, String> {
    let number = positive(text)?;
    if number % SEATS_PER_ROW != 0 || number > SEATS_MAX {
        return Err(format!("give a multiple of {SEATS_PER_ROW}, at most {SEATS_MAX}"));
    }
    Ok(number)
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    /// The measurements of a command line, or why there are none.
    fn measurements(arguments: &[&str]) -> Result<Vec<Settings>, String> {
        let parsed = Command::try_parse_from([&["bench"][..], arguments].concat());
        parsed.map_err(|error| error.to_string())?.arguments.measurements()
    }

    /// The only measurement of a command line.
    pub(crate) fn settings(arguments: &[&str]) -> Settings {
        let all = measurements(arguments).unwrap();
        assert_eq!(all.len(), 1, "{all:?}");
        all[0].clone()
    }

    #[test]
    fn a_scenario_is_a_name_for_options() {
        let Settings { name, keyed, hold, limit, .. } = settings(&[]);
        assert_eq!((name.as_str(), keyed, hold, limit), ("plain", false, false, None));
        assert!(settings(&["keyed"]).keyed && settings(&["plain", "--keyed"]).keyed);
        assert!(settings(&["hold"]).hold);
        assert_eq!(settings(&["limited"]).limit, Some(10));
        assert_eq!(settings(&["limited", "--limit", "100000"]).limit, Some(100_000));
        assert_eq!(settings(&["stampede", "--customers", "30"]).connections, 30);
        assert_eq!(settings(&["on-sale"]).phases.len(), 4);
        assert_eq!(settings(&["on-sale", "--phases", "5x5"]).phases, [Phase::new(5, 5)]);
    }

    #[test]
    fn all_ways_begin_with_plain_and_end_with_one_connection() {
        let all = measurements(&["--way", "all", "--limit", "7"]).unwrap();
        let ways: Vec<_> =
            all.iter().map(|way| (way.keyed, way.limit, way.hold, way.connections)).collect();
        let expected = [
            (false, None, false, 256),
            (true, None, false, 256),
            (false, Some(7), false, 256),
            (false, None, true, 256),
            (true, Some(7), true, 256),
            (false, None, false, 1),
        ];
        assert_eq!(ways, expected);
        assert!(all.iter().all(|way| way.seconds == 5));
    }

    #[test]
    fn contradictions_are_refused() {
        for wrong in [
            "--limit 1",
            "--schedules 3 --hot 2",
            "stampede --keyed",
            "browse --phases 5x5",
            "plain --way all",
            "--target reference",
            "hold --queued",
            "hold --address a:1 --target reference",
            "--schedule-seats 150",
            "--seats 0",
            "plain --sold",
            "plain --existing 7-9",
            "stampede --existing 7 --address a:1",
            "plain --existing 9-7 --address a:1",
            "nonsense",
        ] {
            let arguments: Vec<_> = wrong.split(' ').collect();
            assert!(measurements(&arguments).is_err(), "{wrong}");
        }
    }
}
