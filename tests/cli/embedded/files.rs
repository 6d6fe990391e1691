//! Only its own user may read the files of the service, with any umask.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use crate::program::{Service, Workplace};

fn mode(place: &Workplace, name: &str) -> u32 {
    let path = place.folder.path().join(name);
    let metadata = fs::metadata(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    metadata.permissions().mode() & 0o777
}

/// The warnings of the service.
fn warnings(service: &Service) -> Vec<String> {
    let log = service.log();
    let warned = log.iter().filter(|line| line["level"] == "WARN");
    warned.map(|line| line["msg"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_database_its_log_and_its_copies_are_for_their_owner_alone() {
    let place = Workplace::new();
    let service = place.serve(&[("SQLITE_PATH", "shop.db")]);
    let copied = place.run_with(&["backup", "copy.db"], &[("SQLITE_PATH", "shop.db")], "");
    assert_eq!(copied.code, 0, "{copied:?}");
    for name in ["shop.db", "shop.db-wal", "shop.db-shm", "copy.db"] {
        assert_eq!(mode(&place, name), 0o600, "{name}");
    }
    assert!(
        !warnings(&service).iter().any(|text| text.contains("chmod")),
        "{:?}",
        warnings(&service)
    );
    assert_eq!(service.stop(), 0);
}

#[test]
fn a_file_that_others_may_read_is_warned_of_and_left_as_it_is() {
    let place = Workplace::new();
    assert_eq!(place.run(&["migrate"]).code, 0);
    assert_eq!(mode(&place, "seatlock.db"), 0o600);
    let folder = place.folder.path();
    fs::set_permissions(folder.join("seatlock.db"), Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(folder, Permissions::from_mode(0o777)).unwrap();
    let service = place.serve(&[]);
    let warnings = warnings(&service);
    let warned = |remedy: &str| warnings.iter().any(|text| text.ends_with(remedy));
    assert!(warned("(its mode is 0644): run chmod 600 ./seatlock.db"), "{warnings:?}");
    assert!(warned("(its mode is 0777): run chmod 700 ."), "{warnings:?}");
    assert_eq!(mode(&place, "seatlock.db"), 0o644);
    assert_eq!(service.stop(), 0);
}
