//! The files for Patroni, etcd and HAProxy: they name the same machines, ports and users, and their times are in order.
//! `tests/faults/ha.rs` runs them.

use crate::files::{read, variables, yaml};
use crate::program::{assert_known, configuration};

const FOLDER: &str = "packaging/patroni";

fn file(name: &str) -> String {
    read(&format!("{FOLDER}/{name}"))
}

/// The seconds of a setting of HAProxy in the line that begins with `line`.
fn seconds(line: &str, setting: &str) -> f64 {
    let text = file("haproxy.cfg");
    let line = text.lines().map(str::trim).find(|found| found.starts_with(line)).unwrap();
    let mut words = line.split_whitespace().skip_while(|word| *word != setting).skip(1);
    let value = words.next().unwrap();
    match value.strip_suffix("ms") {
        Some(milliseconds) => milliseconds.parse::<f64>().unwrap() / 1_000.0,
        None => value.trim_end_matches('s').parse().unwrap(),
    }
}

#[test]
fn the_variables_of_the_service_are_valid_and_lead_to_haproxy() {
    let service = variables(&file("seatlock.env"));
    assert_known(service.keys(), "seatlock.env");
    configuration(&service, "seatlock.env");
    for (variable, front) in [("WRITE_DB_URL", "127.0.0.1:5000"), ("READ_DB_URL", "127.0.0.1:5001")]
    {
        assert!(service[variable].contains(front), "{variable}");
        assert!(file("haproxy.cfg").contains(&format!("bind {front}\n")), "{front}");
    }
}

#[test]
fn the_machines_and_ports_are_those_of_each_other() {
    let (etcd, node) = (variables(&file("etcd.env")), variables(&file("patroni.env")));
    for member in node["PATRONI_ETCD_HOSTS"].split(',') {
        let (host, _) = member.split_once(':').unwrap();
        assert!(etcd["ETCD_INITIAL_CLUSTER"].contains(&format!("http://{host}:2380")), "{host}");
    }
    assert!(etcd["ETCD_LISTEN_CLIENT_URLS"].ends_with(":2379"));
    let (_, database) = node["PATRONI_POSTGRESQL_LISTEN"].split_once(':').unwrap();
    let (_, api) = node["PATRONI_RESTAPI_LISTEN"].split_once(':').unwrap();
    let server = format!("server {} {}:{database} port {api}\n", node["PATRONI_NAME"], "10.0.0.21");
    assert_eq!(file("haproxy.cfg").matches(&server).count(), 2, "{server}");
}

#[test]
fn commits_are_synchronous_and_the_times_are_in_order() {
    let patroni = yaml(&format!("{FOLDER}/patroni.yml"));
    let dcs = &patroni["bootstrap"]["dcs"];
    for mode in ["synchronous_mode", "synchronous_mode_strict", "failsafe_mode"] {
        assert_eq!(dcs[mode], true, "{mode}");
    }
    assert_eq!(dcs["postgresql"]["parameters"]["synchronous_commit"], "on");
    let number = |name: &str| dcs[name].as_f64().unwrap();
    assert!(number("loop_wait") + 2.0 * number("retry_timeout") <= number("ttl"));
    // The old leader has no connections when the next one has its lease.
    let check = seconds("timeout check", "check");
    let fall = seconds("default-server", "fall");
    let noticed = seconds("default-server", "inter") + fall * check;
    assert!(noticed < number("ttl") - number("loop_wait"), "{noticed}");
}
