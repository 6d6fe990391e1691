//! How the schema stands against this program: an older or a newer release may have made it, since replicas
//! are replaced one by one, and a release that went wrong is taken back.

use std::sync::Arc;

use migration::Migrator;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbErr, Statement};
use sea_orm_migration::{MigrationTrait, MigratorTrait, SchemaManager};

use crate::domain::execution_error::StoreError;
use crate::faults::release;

use crate::store::Store;

/// Where sea-orm-migration writes down which steps have been taken.
const TABLE: &str = "seaql_migrations";

/// Stands in the name of a step that takes something away, before the step whose program does without it.
const NEEDS: &str = "_needs_";

/// How the schema stands against this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schema {
    /// Exactly the steps of this program have been taken.
    Current,
    /// A newer program has taken so many steps more, and this one can work on what they left.
    Newer(usize),
    /// This many steps are missing.
    Behind(usize),
    /// A newer program has taken away what this one needs; the step that did.
    Contracted(String),
}

impl Schema {
    /// Why this program must not work on the schema, and what to do; nothing if it may.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Current | Self::Newer(_) => None,
            Self::Behind(steps) => {
                Some(format!("the schema lacks {steps} steps: run `seatlock migrate`"))
            }
            Self::Contracted(step) => Some(format!(
                "the schema has lost what this version needs (step {step}): run a newer version"
            )),
        }
    }
}

impl Store {
    /// Compares the schema with this program without changing it; needs no right to.
    pub async fn schema(self: &Arc<Self>) -> Result<Schema, StoreError> {
        self.on_primary(|db| async move { stand_of(&db).await }).await
    }
}

/// The steps of this program: those of the release that it is, or plays in a test.
pub(crate) struct Steps;

impl MigratorTrait for Steps {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut steps = Migrator::migrations();
        steps.extend(release::later_steps());
        steps
    }
}

/// How the schema of this database stands.
pub(crate) async fn stand_of(db: &DatabaseConnection) -> Result<Schema, DbErr> {
    let known: Vec<String> =
        Steps::migrations().iter().map(|step| step.name().to_owned()).collect();
    Ok(stand(&known, &taken(db).await?))
}

/// The names of the steps that have been taken, by whatever program.
async fn taken(db: &DatabaseConnection) -> Result<Vec<String>, DbErr> {
    if !SchemaManager::new(db).has_table(TABLE).await? {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT version FROM {TABLE}");
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let rows = db.query_all_raw(statement).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// Compares the steps of a program with those that have been taken.
fn stand(known: &[String], taken: &[String]) -> Schema {
    let newest = known.iter().map(|step| number(step)).max().unwrap_or_default();
    let foreign: Vec<&String> = taken.iter().filter(|step| !known.contains(step)).collect();
    let lost = foreign.iter().find(|step| needed(step).is_some_and(|needed| needed > newest));
    if let Some(step) = lost {
        return Schema::Contracted((**step).clone());
    }
    match known.iter().filter(|step| !taken.contains(step)).count() {
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

/// The oldest step that a program has to know to work on after this one.
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
    fn steps_that_only_add_leave_an_older_program_at_work() {
        let known = names(&[FIRST, SECOND]);
        assert_eq!(stand(&known, &names(&[SECOND, FIRST])), Schema::Current);
        assert_eq!(stand(&known, &names(&[FIRST, SECOND, EXPAND])), Schema::Newer(1));
        assert_eq!(stand(&known, &names(&[FIRST, EXPAND])), Schema::Behind(1));
        assert_eq!(stand(&known, &[]), Schema::Behind(2));
    }

    #[test]
    fn a_step_that_takes_away_stops_programs_that_need_it_and_no_others() {
        let taken = names(&[FIRST, SECOND, EXPAND, CONTRACT]);
        let lost = Schema::Contracted(CONTRACT.to_owned());
        assert_eq!(stand(&names(&[FIRST, SECOND]), &taken), lost);
        assert_eq!(stand(&names(&[FIRST, SECOND, EXPAND]), &taken), Schema::Newer(1));
        assert_eq!(stand(&names(&[FIRST, SECOND, EXPAND, CONTRACT]), &taken), Schema::Current);
    }

    #[test]
    fn a_contracted_schema_is_told_before_a_missing_step_which_migrating_cannot_help() {
        let taken = names(&[FIRST, CONTRACT]);
        let found = stand(&names(&[FIRST, SECOND]), &taken);
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
