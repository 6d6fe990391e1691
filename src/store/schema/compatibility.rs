//! Compatibility of the schema with this program: an older or a newer release may have migrated it, since
//! replicas are replaced one by one, and a faulty release is rolled back.

use migration::Migrator;
use sea_orm_migration::{MigrationTrait, MigratorTrait, SchemaManager};

use crate::domain::execution_error::StoreResult;
use crate::faults::release;
use crate::store::Store;
use crate::store::connection::citus::is_distributed;
use crate::store::connection::{Db, DbResult, Dialect};

/// The table in which sea-orm-migration records the applied steps.
const TABLE: &str = "seaql_migrations";

/// The separator in the name of a step that removes something. After it comes the oldest step that a program must
/// have to work without what was removed.
const NEEDS: &str = "_needs_";

/// The schema compared with this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schema {
    /// Exactly the steps of this program are applied.
    Current,
    /// A newer program has applied this many more steps, and this one can work with them.
    Newer(usize),
    /// This many steps are missing.
    Behind(usize),
    /// A newer program has removed something that this one needs, with this step.
    Incompatible(String),
}

impl Schema {
    /// The reason why this program must not use the schema, with the remedy; `None` if it may.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Current | Self::Newer(_) => None,
            Self::Behind(steps) => {
                Some(format!("the schema lacks {steps} steps: run `seatlock migrate`"))
            }
            Self::Incompatible(step) => Some(format!(
                "the schema has lost what this version needs (step {step}): run a newer version"
            )),
        }
    }
}

impl Store {
    /// Compares the schema with this program, without changing anything.
    pub async fn schema(&self) -> StoreResult<Schema> {
        self.on_primary(|db| async move { schema_status(&db).await }).await
    }
}

/// The steps of this program: those of its release, or of the release that it simulates in a test.
pub(crate) struct Steps;

impl MigratorTrait for Steps {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut steps = Migrator::migrations();
        steps.extend(release::later_steps());
        steps
    }
}

/// Compares the schema of this database with this program.
pub(crate) async fn schema_status(db: &Db) -> DbResult<Schema> {
    let own: Vec<String> = Steps::migrations().iter().map(|step| step.name().to_owned()).collect();
    match compare_migrations(&own, &applied(db).await?) {
        // The distribution of the tables is one step more.
        Schema::Current if db.dialect == Dialect::Citus && !is_distributed(db).await? => {
            Ok(Schema::Behind(1))
        }
        schema => Ok(schema),
    }
}

/// The names of the applied steps, of any program.
async fn applied(db: &Db) -> DbResult<Vec<String>> {
    if !SchemaManager::new(&db.connection).has_table(TABLE).await? {
        return Ok(Vec::new());
    }
    db.fetch(format!("SELECT version FROM {TABLE}"), Vec::new()).await
}

/// Compares the steps of a program with those that are applied.
fn compare_migrations(own: &[String], applied: &[String]) -> Schema {
    let newest = own.iter().map(|step| number(step)).max().unwrap_or_default();
    let foreign: Vec<&String> = applied.iter().filter(|step| !own.contains(step)).collect();
    let removed = foreign.iter().find(|step| needed(step).is_some_and(|needed| needed > newest));
    if let Some(step) = removed {
        return Schema::Incompatible((**step).clone());
    }
    match own.iter().filter(|step| !applied.contains(step)).count() {
        0 if foreign.is_empty() => Schema::Current,
        0 => Schema::Newer(foreign.len()),
        missing => Schema::Behind(missing),
    }
}

/// The date and the number that a step's name begins with: `20261122_000001`.
fn number(step: &str) -> &str {
    let step = step.strip_prefix('m').unwrap_or(step);
    let end = step.match_indices('_').nth(1).map_or(step.len(), |(at, _)| at);
    step.get(..end).unwrap_or(step)
}

/// The oldest step that a program must have to work with the schema after this step.
fn needed(step: &str) -> Option<&str> {
    step.rsplit_once(NEEDS).map(|(_, needed)| number(needed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(steps: &[&str]) -> Vec<String> {
        steps.iter().map(|step| (*step).to_owned()).collect()
    }

    const FIRST: &str = "m20261122_000001_create_catalogue";
    const SECOND: &str = "m20261122_000002_create_reservations";
    const EXPAND: &str = "m20270101_000001_add_seat_notes";
    const CONTRACT: &str = "m20270301_000001_drop_seat_labels_needs_20270101_000001";

    #[test]
    fn an_older_program_works_with_steps_that_only_add() {
        let own = names(&[FIRST, SECOND]);
        assert_eq!(compare_migrations(&own, &names(&[SECOND, FIRST])), Schema::Current);
        assert_eq!(compare_migrations(&own, &names(&[FIRST, SECOND, EXPAND])), Schema::Newer(1));
        assert_eq!(compare_migrations(&own, &names(&[FIRST, EXPAND])), Schema::Behind(1));
        assert_eq!(compare_migrations(&own, &[]), Schema::Behind(2));
    }

    #[test]
    fn a_step_that_removes_stops_programs_that_need_it_and_no_others() {
        let applied = names(&[FIRST, SECOND, EXPAND, CONTRACT]);
        let incompatible = Schema::Incompatible(CONTRACT.to_owned());
        assert_eq!(compare_migrations(&names(&[FIRST, SECOND]), &applied), incompatible);
        assert_eq!(
            compare_migrations(&names(&[FIRST, SECOND, EXPAND]), &applied),
            Schema::Newer(1)
        );
        assert_eq!(
            compare_migrations(&names(&[FIRST, SECOND, EXPAND, CONTRACT]), &applied),
            Schema::Current
        );
    }

    #[test]
    fn an_incompatible_schema_is_reported_before_a_missing_step() {
        let applied = names(&[FIRST, CONTRACT]);
        let found = compare_migrations(&names(&[FIRST, SECOND]), &applied);
        assert!(found.problem().is_some_and(|text| text.contains("run a newer version")));
    }

    #[test]
    fn a_step_is_numbered_by_its_date_and_number() {
        assert_eq!(number(SECOND), "20261122_000002");
        assert_eq!(needed(CONTRACT), Some("20270101_000001"));
        assert_eq!(needed(EXPAND), None);
        assert_eq!(number("odd"), "odd");
    }
}
