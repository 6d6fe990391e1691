//! Tests of the standby: it replicates, falls behind and is promoted on demand.

use std::time::Duration;

use test_support::{Postgres, Relay, Standby};

const SOON: Duration = Duration::from_secs(30);

const SEATS: &str = "SELECT string_agg(label, ' ' ORDER BY label) FROM seat";

/// Creates a database with one seat on `primary`, and returns its address.
fn create_seats(primary: &Postgres) -> String {
    let database = primary.create_database();
    primary.psql(&database, "CREATE TABLE seat (label text)");
    add_seat(primary, &database, "A-1-1");
    database
}

fn add_seat(primary: &Postgres, database: &str, label: &str) {
    primary.psql(database, &format!("INSERT INTO seat VALUES ('{label}')"));
}

fn is_in_recovery(standby: &Standby) -> String {
    standby.psql("postgres", "SELECT pg_is_in_recovery()")
}

mod full {
    use super::*;

    #[test]
    fn a_standby_follows_what_was_there_before_it_and_what_came_after() {
        let primary = Postgres::start(&[]);
        let before = create_seats(&primary);
        let standby = primary.standby();
        assert_eq!(standby.psql(&before, SEATS), "A-1-1", "what is there needs no waiting");
        let after = create_seats(&primary);
        add_seat(&primary, &after, "A-1-2");
        standby.wait_until_caught_up(SOON);
        assert_eq!(standby.psql(&after, SEATS), "A-1-1 A-1-2");
        assert_eq!(standby.psql(&after, "SHOW transaction_read_only"), "on");
        assert_eq!(is_in_recovery(&standby), "t");
    }

    #[test]
    fn the_address_on_the_standby_names_the_same_database_by_any_road() {
        let primary = Postgres::shared();
        let database = primary.create_database();
        let standby = primary.standby();
        let name = database.rsplit('/').next().unwrap();
        let expected = format!("postgres://app@127.0.0.1:{}/{name}", standby.port());
        assert_eq!(standby.url(&database), expected);
        assert_eq!(standby.url(name), expected);
        assert_eq!(standby.url(&expected), expected);
        let relay = Relay::to(standby.port());
        let road = format!("postgres://app@127.0.0.1:{}/{name}", relay.port());
        assert_eq!(primary.psql(&road, "SELECT current_database()"), name);
        assert_eq!(primary.psql(&road, "SHOW port"), standby.port().to_string());
        assert_ne!(standby.port(), primary.port());
    }

    #[test]
    fn one_primary_has_several_standbys_at_once() {
        let primary = Postgres::start(&[]);
        let standbys = [primary.standby(), primary.standby()];
        let database = create_seats(&primary);
        for standby in &standbys {
            standby.wait_until_caught_up(SOON);
            assert_eq!(standby.psql(&database, SEATS), "A-1-1");
        }
        let streams = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
        assert_eq!(primary.psql("postgres", streams), "2");
    }

    #[test]
    fn a_paused_replay_shows_the_past_until_it_is_resumed() {
        let primary = Postgres::start(&[]);
        let standby = primary.standby();
        let database = create_seats(&primary);
        standby.wait_until_caught_up(SOON);
        standby.pause_replay();
        add_seat(&primary, &database, "A-1-2");
        let behind = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            standby.wait_until_caught_up(Duration::from_millis(500));
        }));
        let complaint = behind.unwrap_err();
        let complaint = complaint.downcast_ref::<String>().unwrap();
        assert!(complaint.contains("the standby is behind"), "{complaint}");
        assert_eq!(standby.psql(&database, SEATS), "A-1-1");
        standby.resume_replay();
        standby.wait_until_caught_up(SOON);
        assert_eq!(standby.psql(&database, SEATS), "A-1-1 A-1-2");
    }

    /// The primary confirms only commits that the standby has received; the standby has not replayed them yet.
    #[test]
    fn a_promoted_standby_has_all_that_was_acknowledged_and_takes_writes() {
        let primary = Postgres::start(&[("synchronous_standby_names", "*")]);
        let standby = primary.standby();
        let database = create_seats(&primary);
        standby.wait_until_caught_up(SOON);
        standby.pause_replay();
        add_seat(&primary, &database, "A-1-2");
        assert_eq!(standby.psql(&database, SEATS), "A-1-1");
        primary.kill();
        standby.promote();
        assert_eq!(is_in_recovery(&standby), "f");
        assert_eq!(standby.psql(&database, SEATS), "A-1-1 A-1-2");
        standby.psql(&database, "INSERT INTO seat VALUES ('A-1-3')");
        standby.restart();
        assert_eq!(is_in_recovery(&standby), "f");
        assert_eq!(standby.psql(&database, SEATS), "A-1-1 A-1-2 A-1-3");
    }

    #[test]
    fn a_standby_that_was_killed_or_frozen_catches_up_on_what_it_missed() {
        let primary = Postgres::start(&[]);
        let standby = primary.standby();
        let port = standby.port();
        let database = create_seats(&primary);
        standby.kill();
        add_seat(&primary, &database, "A-1-2");
        standby.restart();
        standby.wait_until_caught_up(SOON);
        assert_eq!(standby.port(), port);
        assert_eq!(standby.psql(&database, SEATS), "A-1-1 A-1-2");
        standby.pause();
        add_seat(&primary, &database, "A-1-3");
        standby.resume();
        standby.wait_until_caught_up(SOON);
        assert_eq!(standby.psql(&database, SEATS), "A-1-1 A-1-2 A-1-3");
    }

    #[test]
    fn a_standby_outlives_its_primary_and_finds_it_again() {
        let primary = Postgres::start(&[]);
        let standby = primary.standby();
        let database = create_seats(&primary);
        standby.wait_until_caught_up(SOON);
        primary.kill();
        assert_eq!(standby.psql(&database, SEATS), "A-1-1");
        standby.restart();
        assert_eq!(standby.psql(&database, SEATS), "A-1-1");
        primary.restart();
        add_seat(&primary, &database, "A-1-2");
        standby.wait_until_caught_up(SOON);
        assert_eq!(standby.psql(&database, SEATS), "A-1-1 A-1-2");
    }
}
