//! The fixture of the store's tests: a fresh database, a store on it, and a separate connection that checks the
//! database.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use seatlock::app::store_settings;
use seatlock::config::Config;
use seatlock::domain::audit::Violation;
use seatlock::domain::catalogue::{NewSchedule, PlanSource, Schedule};
use seatlock::domain::clock::EpochMs;
use seatlock::domain::command::Command;
use seatlock::domain::effect::{Once, Outcome};
use seatlock::domain::execution_error::ExecutionError;
use seatlock::domain::ids::{EventId, ScheduleId};
use seatlock::domain::plan::{InlineSection, SeatPlan};
use seatlock::domain::rules::ScheduleRules;
use seatlock::http::responses::{render_event, render_schedule};
use seatlock::store::{AuditPace, AuditScope, Lane, ReadFrom, Settings, Store};
use seatlock::telemetry::metrics::Metrics;
use seatlock::telemetry::metrics::batch::{BatchOutcome, Guard};
use test_support::{Database, Folder, Postgres, Relay};
use tokio::sync::{Mutex, mpsc};

/// More violations than a test causes.
const VIOLATIONS_MAX: usize = 10_000;

/// A lane that tasks use one after the other.
pub(crate) type SharedLane = Arc<Mutex<Lane>>;

/// The outcome of one command.
pub(crate) type CommandResult = Result<Outcome, ExecutionError>;

/// A database with a store on it.
pub(crate) struct Stage {
    pub(crate) store: Arc<Store>,
    pub(crate) lane: SharedLane,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) database: Database,
    pub(crate) settings: Settings,
    _folder: Option<Folder>,
}

/// The store's settings as the service makes them from these variables.
pub(crate) fn settings(variables: &[(&str, &str)]) -> Settings {
    let variables: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    store_settings(&Config::from_vars(&variables).unwrap())
}

impl Stage {
    /// An SQLite file in its own folder.
    pub(crate) async fn embedded() -> Self {
        let folder = Folder::new();
        let path = folder.path().join("seatlock.db");
        let settings = settings(&[("SQLITE_PATH", &path.to_string_lossy())]);
        Store::migrate(&settings.target, &settings.limits).await.unwrap();
        let database = Database::sqlite(&path).await;
        Self::on(settings, database, Some(folder)).await
    }

    /// A database of the shared PostgreSQL server.
    pub(crate) async fn full() -> Self {
        Self::on_postgres(Postgres::shared()).await
    }

    /// A database of the PostgreSQL server given.
    pub(crate) async fn on_postgres(server: &Postgres) -> Self {
        Self::at(&server.create_database()).await
    }

    /// The database at this address.
    pub(crate) async fn at(url: &str) -> Self {
        let settings = settings(&[("WRITE_DB_URL", url)]);
        Store::migrate(&settings.target, &settings.limits).await.unwrap();
        Self::on(settings, Database::postgres(url).await, None).await
    }

    async fn on(settings: Settings, database: Database, folder: Option<Folder>) -> Self {
        let metrics = Arc::new(Metrics::new().unwrap());
        let store = Store::open(settings.clone(), Arc::clone(&metrics)).await.unwrap();
        let lane = first_lane(&store);
        Self { store, lane, metrics, database, settings, _folder: folder }
    }

    /// A lane of another store on the same database.
    pub(crate) async fn another_lane(&self) -> SharedLane {
        first_lane(&self.another_store().await)
    }

    /// How many runs of batches ended like this.
    pub(crate) fn batches(&self, outcome: BatchOutcome) -> u64 {
        self.metrics.batch.batches_total.with_label_values(&[outcome]).get()
    }

    /// Another store on the same database, like that of another process, but with the same metrics.
    pub(crate) async fn another_store(&self) -> Arc<Store> {
        Store::open(self.settings.clone(), Arc::clone(&self.metrics)).await.unwrap()
    }

    /// Checks every invariant.
    pub(crate) async fn audit(&self) {
        let found = self.violations(AuditScope::Everything).await;
        let found: Vec<String> = found.iter().map(Violation::to_string).collect();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    /// The violations that an audit finds, in order. A store of its own reads them.
    pub(crate) async fn violations(&self, scope: AuditScope) -> Vec<Violation> {
        let metrics = Arc::new(Metrics::new().unwrap());
        let store = Store::open_to_read(self.settings.clone(), metrics).await.unwrap();
        let (sender, mut found) = mpsc::channel(VIOLATIONS_MAX);
        store.audit(scope, AuditPace::Full, sender).await.unwrap();
        store.close().await;
        let mut violations = Vec::new();
        found.recv_many(&mut violations, VIOLATIONS_MAX).await;
        violations
    }

    /// Checks that the row locks alone have kept every invariant: no later guard has acted.
    pub(crate) fn no_later_guard_stepped_in(&self) {
        for guard in [Guard::UniqueIndex, Guard::RowCount] {
            let saves = &self.metrics.batch.guard_saves_total;
            assert_eq!(saves.with_label_values(&[guard]).get(), 0, "{guard:?}");
        }
    }

    /// Executes the commands as one batch.
    pub(crate) async fn run(&self, commands: Vec<Command>) -> Vec<CommandResult> {
        run(&self.lane, commands).await
    }

    /// Executes one command.
    pub(crate) async fn run_one(&self, command: Command) -> CommandResult {
        self.run(vec![command]).await.remove(0)
    }

    /// A schedule with `seats` seats: number `n` is `A-1-(n + 1)` and costs 1,000.
    pub(crate) async fn schedule(&self, seats: u32) -> ScheduleId {
        self.schedule_with(seats, default_rules()).await.id
    }

    pub(crate) async fn schedule_with(&self, seats: u32, rules: ScheduleRules) -> Schedule {
        Self::schedule_in(&self.store, seats, rules).await
    }

    /// A schedule that this store creates.
    pub(crate) async fn schedule_in(
        store: &Arc<Store>,
        seats: u32,
        rules: ScheduleRules,
    ) -> Schedule {
        let event = Self::event_in(store).await;
        let new = NewSchedule { event, starts_at: EpochMs(0), rules };
        let source = PlanSource::Inline(hall(seats));
        match store.create_schedule(new, source, None, render_schedule).await.unwrap() {
            Once::Done(schedule) => schedule,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn event(&self) -> EventId {
        Self::event_in(&self.store).await
    }

    async fn event_in(store: &Arc<Store>) -> EventId {
        let name = "The Tempest".to_owned();
        match store.create_event(name, None, render_event).await.unwrap() {
            Once::Done(event) => event.id,
            other => panic!("{other:?}"),
        }
    }

    /// The current version of a schedule.
    pub(crate) async fn version(&self, schedule: ScheduleId) -> i64 {
        self.store.seats(schedule, ReadFrom::Primary).await.unwrap().unwrap().at.at
    }

    /// The states of a schedule's seats as digits: `0` available, `1` held, `2` booked, `3` blocked.
    pub(crate) async fn states(&self, schedule: ScheduleId) -> String {
        let snapshot = self.store.seats(schedule, ReadFrom::Primary).await.unwrap().unwrap();
        snapshot.states.iter().map(|(code, _)| code.to_string()).collect()
    }
}

/// The first lane of a store whose lanes were not taken yet.
/// A stage, and a lane of another store on the same database behind a relay.
pub(crate) struct Wired {
    pub(crate) stage: Stage,
    pub(crate) lane: SharedLane,
    pub(crate) relay: Relay,
    /// Of that store.
    pub(crate) metrics: Arc<Metrics>,
}

impl Wired {
    pub(crate) async fn start() -> Self {
        let stage = Stage::full().await;
        let relay = Relay::to(Postgres::shared().port());
        let name: Vec<String> = stage.database.column("SELECT current_database()::text").await;
        let url = format!("postgres://app@127.0.0.1:{}/{}", relay.port(), name[0]);
        let metrics = Arc::new(Metrics::new().unwrap());
        let settings = settings(&[("WRITE_DB_URL", &url)]);
        let store = Store::open(settings, Arc::clone(&metrics)).await.unwrap();
        Self { stage, lane: first_lane(&store), relay, metrics }
    }
}

pub(crate) fn first_lane(store: &Arc<Store>) -> SharedLane {
    Arc::new(Mutex::new(store.take_lanes().remove(0)))
}

/// Executes the commands as one batch.
pub(crate) async fn run(lane: &SharedLane, commands: Vec<Command>) -> Vec<CommandResult> {
    let results = lane.lock().await.run_batch(commands, &|_| true).await.results;
    results.into_iter().map(|result| result.map(|executed| executed.outcome)).collect()
}

/// One row, or rows of 1,000 seats (the limit of a row) if there are more.
pub(crate) fn hall(seats: u32) -> SeatPlan {
    let row = |(name, seats_per_row)| InlineSection {
        name,
        rows: 1,
        seats_per_row,
        price: 1_000,
        ..InlineSection::default()
    };
    let mut rows = vec![("A".to_owned(), seats.min(1_000))];
    rows.extend((1..seats.div_ceil(1_000)).map(|n| (format!("A{n}"), 1_000)));
    SeatPlan::from_inline(&rows.into_iter().map(row).collect::<Vec<_>>()).unwrap()
}

pub(crate) fn default_rules() -> ScheduleRules {
    ScheduleRules {
        sales_open_at: None,
        sales_close_at: None,
        max_seats_per_booking: 10,
        max_seats_per_customer: None,
        hold_ttl: Duration::from_secs(600),
        currency: "EUR".to_owned(),
    }
}
