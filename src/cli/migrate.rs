//! `seatlock migrate`: brings the schema up to date, even with `MIGRATE=off`, which affects `serve` only.

use actix_web::rt::System;
use seatlock::app::store_settings;
use seatlock::store::Store;

use super::progress::ElapsedTime;
use super::{Failed, logging, print, read_config};

pub(crate) fn run() -> Result<(), Failed> {
    let config = read_config()?;
    logging::init(&config.log);
    let settings = store_settings(&config);
    let progress = ElapsedTime::of("migrating the schema");
    let steps = System::new()
        .block_on(progress.show_during(Store::migrate(&settings.target, &settings.limits)))
        .map_err(|error| Failed::logged(format!("the schema could not be migrated: {error}")))?;
    print(&summary(steps))
}

fn summary(steps: usize) -> String {
    match steps {
        0 => "the schema is up to date already\n".to_owned(),
        1 => "the schema is up to date: 1 step was applied\n".to_owned(),
        steps => format!("the schema is up to date: {steps} steps were applied\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::summary;

    #[test]
    fn steps_are_counted_in_english() {
        let counted: Vec<String> = [0, 1, 2].map(summary).into();
        assert!(counted[0].ends_with("already\n"));
        assert!(counted[1].ends_with(": 1 step was applied\n"));
        assert!(counted[2].ends_with(": 2 steps were applied\n"));
    }
}
