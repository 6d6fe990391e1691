//! What managed services require: certificates that are verified, passwords that change while the service runs, and
//! passwords that a command prints.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use test_support::{Certificates, Postgres, holds_within};

use crate::program::{Service, Workplace};

const FIRST: &str = "planted-first-password";
const SECOND: &str = "planted-second-password";

/// How soon a service sells again after its password was changed, on a loaded machine.
const SOON: Duration = Duration::from_secs(30);

/// A server that asks for encryption and a password, and a database of `seller`.
struct Guarded {
    postgres: Postgres,
    certificates: Certificates,
    database: String,
}

impl Guarded {
    fn start(certificates: Certificates) -> Self {
        let postgres = Postgres::start_guarded(&certificates);
        let url = postgres.create_database();
        let database = url.rsplit('/').next().unwrap().to_owned();
        postgres.psql(&url, "CREATE ROLE seller LOGIN");
        postgres.psql(&url, &format!("ALTER DATABASE {database} OWNER TO seller"));
        let guarded = Self { postgres, certificates, database };
        guarded.set_password(FIRST);
        guarded
    }

    fn set_password(&self, password: &str) {
        let sql = format!("ALTER ROLE seller PASSWORD '{password}'");
        self.postgres.psql(&self.database, &sql);
    }

    fn end_sessions(&self) {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'seller'";
        self.postgres.psql(&self.database, sql);
    }

    /// The address for `seller` at this host, with the authority in this file.
    fn address(&self, login: &str, host: &str, authority: &Path) -> String {
        let (port, name) = (self.postgres.port(), &self.database);
        let mode = format!("sslmode=verify-full&sslrootcert={}", authority.display());
        format!("postgres://{login}@{host}:{port}/{name}?{mode}")
    }

    /// The address without a password.
    fn plain_address(&self) -> String {
        self.address("seller", "127.0.0.1", &self.certificates.ca())
    }
}

/// The rights of docs/operations.md: the service changes rows, and no table.
#[test]
fn a_role_without_ddl_sells_and_manages_keys() {
    let postgres = Postgres::shared();
    let url = postgres.create_database();
    let place = Workplace::new();
    place.import_hall(&[("WRITE_DB_URL", &url)]);
    let name = url.rsplit('/').next().unwrap();
    let role = format!("rows_only_{name}");
    postgres.psql(
        &url,
        &format!(
            "CREATE ROLE {role} LOGIN;
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
             GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role};"
        ),
    );
    let limited = format!("postgres://{role}@127.0.0.1:{}/{name}", postgres.port());
    let environment = [("WRITE_DB_URL", limited.as_str()), ("MIGRATE", "off")];
    let service = place.serve(&environment);
    sell(&service, "1-1-1");
    let keys =
        |arguments: &[&str]| place.run_with(&[&["keys"], arguments].concat(), &environment, "");
    let created = keys(&["create", "shop", "--scope", "read", "--json"]);
    assert_eq!(created.code, 0, "{created:?}");
    assert_eq!(keys(&["rotate", "shop"]).code, 0);
    assert_eq!(keys(&["revoke", "shop"]).code, 0);
    let verified = place.run_with(&["verify"], &environment, "");
    assert_eq!(verified.code, 0, "{verified:?}");
    let refused =
        std::panic::catch_unwind(|| postgres.psql(&limited, "CREATE TABLE x (y INTEGER)"));
    assert!(refused.is_err(), "the role may create tables");
    assert_eq!(service.stop(), 0);
}

/// Sells a seat, and retries while the database cannot be reached.
fn sell(service: &Service, seat: &str) {
    let booking = json!({"schedule_id": "1", "seats": [seat], "customer_id": "ada"});
    let mut last = None;
    let sold = holds_within(SOON, || {
        let (status, answer) = service.post("/api/v1/bookings", &booking);
        last = Some(answer);
        assert!([200, 409, 503].contains(&status), "{last:?}");
        // 409: an earlier attempt has sold it, and its answer was lost.
        status != 503
    });
    assert!(sold, "no sale within {SOON:?}: {last:?}");
}

#[test]
fn a_certificate_is_verified_and_a_refusal_names_its_remedy() {
    let guarded = Guarded::start(Certificates::of("IP:127.0.0.1"));
    let login = format!("seller:{FIRST}");
    let ca = guarded.certificates.ca();
    let place = Workplace::new();
    let service = place.serve(&[("WRITE_DB_URL", &guarded.address(&login, "127.0.0.1", &ca))]);
    assert_eq!(service.post("/api/v1/events", &json!({"name": "A"})).0, 201);
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'seatlock'";
    assert_eq!(guarded.postgres.psql(&guarded.database, encrypted), "t");

    let stranger = Certificates::new();
    for (host, authority, expected) in [
        ("127.0.0.1", stranger.ca(), "an authority that is not trusted here: name the file"),
        ("localhost", ca, "the certificate of the server is for another name"),
    ] {
        let address = guarded.address(&login, host, &authority);
        let ended = place.run_with(&["migrate"], &[("WRITE_DB_URL", &address)], "");
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.stderr.contains(expected), "{ended:?}");
        assert!(!ended.stderr.contains("planted-"), "{ended:?}");
    }
    let address = guarded.address(&login, "127.0.0.1", Path::new("/none/ca.pem"));
    let ended = place.run_with(&["config", "check"], &[("WRITE_DB_URL", &address)], "");
    assert_eq!(ended.code, 78, "{ended:?}");
    assert!(ended.stderr.contains("the file /none/ca.pem"), "{ended:?}");
}

/// Changes the password in the database, ends every session, and checks that the service sells without a restart.
fn survives_a_new_password(guarded: &Guarded, service: &Service, write_password: impl FnOnce()) {
    sell(service, "1-1-1");
    guarded.set_password(SECOND);
    write_password();
    guarded.end_sessions();
    sell(service, "1-1-2");
    assert!(service.process.is_running());
    let output = service.process.output();
    assert!(!output.contains("planted-"), "{output}");
    assert_eq!(service.stop(), 0);
    guarded.set_password(FIRST);
}

#[test]
fn a_password_in_a_file_is_replaced_while_the_service_sells() {
    let guarded = Guarded::start(Certificates::new());
    let place = Workplace::new();
    let file = place.folder.path().join("secret");
    let path = file.to_str().unwrap();
    let address = guarded.plain_address();
    place.write("secret", &format!("{FIRST}\n"));
    let environment = [("WRITE_DB_URL", address.as_str()), ("WRITE_DB_PASSWORD_FILE", path)];
    place.import_hall(&environment);
    let service = place.serve(&environment);
    survives_a_new_password(&guarded, &service, || place.write("secret", SECOND));

    // The same with the whole URL in the file.
    let url = |password| {
        guarded.address(&format!("seller:{password}"), "127.0.0.1", &guarded.certificates.ca())
    };
    place.write("secret", &url(FIRST));
    let service = place.serve(&[("WRITE_DB_URL_FILE", path)]);
    let write = || place.write("secret", &url(SECOND));
    guarded.set_password(SECOND);
    write();
    guarded.end_sessions();
    sell(&service, "1-1-3");
    assert_eq!(service.stop(), 0);
}

#[test]
fn a_command_prints_the_password_again_when_the_one_before_is_refused() {
    let guarded = Guarded::start(Certificates::new());
    let place = Workplace::new();
    let folder = place.folder.path().display().to_string();
    place.write("token", FIRST);
    // A test must not see the variables of the service in its own shell, so the paths are in the script.
    place.write("print", &format!("#!/bin/sh\necho \"$1\" >> {folder}/runs\ncat {folder}/token\n"));
    let script = place.folder.path().join("print");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let address = guarded.plain_address();
    let command = format!("{} primary", script.display());
    let environment =
        [("WRITE_DB_URL", address.as_str()), ("WRITE_DB_PASSWORD_COMMAND", command.as_str())];
    let runs = || std::fs::read_to_string(place.folder.path().join("runs")).unwrap();
    place.import_hall(&environment);
    assert_eq!(runs(), "primary\n", "one run for all connections");
    let service = place.serve(&environment);
    survives_a_new_password(&guarded, &service, || place.write("token", SECOND));
    let count = runs().lines().count();
    assert!((3..8).contains(&count), "{count} runs");

    place.write("print", "#!/bin/sh\necho planted-token\necho 'no credentials' >&2\nexit 3\n");
    for started in ["migrate", "serve", "verify"] {
        let ended = place.run_with(&[started], &environment, "");
        assert_eq!(ended.code, 1, "{ended:?}");
        let expected = "print: exit status: 3: no credentials";
        assert!(ended.stderr.contains(expected), "{started}: {ended:?}");
        assert!(!ended.stderr.contains("planted-"), "{ended:?}");
    }
}

#[test]
fn an_operator_begins_a_history() {
    let database = Postgres::shared().create_database();
    let place = Workplace::new();
    let environment = [("WRITE_DB_URL", database.as_str())];
    let begin = || place.run_with(&["history", "begin"], &environment, "");
    let refused = begin();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("run `seatlock migrate`"), "{refused:?}");
    place.import_hall(&environment);
    let (first, second) = (begin(), begin());
    assert_eq!((first.code, second.code), (0, 0), "{first:?} {second:?}");
    let name = Postgres::shared().psql(&database, "SELECT history FROM lineage");
    assert!(second.stdout.starts_with(&format!("history {name} begins; ")), "{second:?}");
    assert!(!first.stdout.contains(&name), "{first:?}");
    assert_eq!(place.run_with(&["verify"], &environment, "").code, 0);
    let file = Workplace::new();
    file.import_hall(&[]);
    let begun = file.run(&["history", "begin"]);
    assert_eq!(begun.code, 0, "{begun:?}");
    assert_eq!(file.run(&["verify"]).code, 0);
}
