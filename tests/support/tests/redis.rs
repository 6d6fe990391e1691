//! Tests of the Redis servers of the test support: they fail on demand and recover.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use std::time::Duration;

use test_support::{Access, Redis, RedisCluster, Sentinels, holds_within};

const LONG: Duration = Duration::from_secs(60);

mod full {
    use super::*;

    #[test]
    fn a_server_lets_in_only_who_has_access() {
        let access = Access::encrypted("sesame");
        let closed = Redis::start_with(&[], &access);
        assert_eq!(closed.cli(&["ping"]), "PONG");
        let port = closed.port();
        let open = Redis::start(&[]);
        let elsewhere = port.to_string();
        let plain = std::panic::catch_unwind(|| open.cli(&["-p", &elsewhere, "ping"]));
        assert_ne!(plain.ok().as_deref(), Some("PONG"), "without encryption");
        let refused = closed.cli(&["-a", "guess", "ping"]);
        assert!(refused.contains("NOAUTH") || refused.contains("WRONGPASS"), "{refused}");
        closed.restart();
        assert_eq!(closed.cli(&["ping"]), "PONG");
    }

    #[test]
    fn sentinels_replace_a_killed_master_and_take_it_back_as_replica() {
        let all = Sentinels::start(&Access::by_password("sesame"), Some("barley"));
        let (old, new) = (all.master(), all.replica());
        assert_eq!(old.cli(&["set", "seat", "held"]), "OK");
        old.kill();
        all.wait_for_another_master(old.port());
        assert_eq!(new.cli(&["set", "seat", "booked"]), "OK");
        old.restart();
        // The new master is queried, because the old one closes its connections when it becomes a replica.
        let replica = format!("port={},state=online", old.port());
        let follows = || new.cli(&["info", "replication"]).contains(&replica);
        let logs = || {
            let sentinels: Vec<_> = all.sentinels().iter().map(|sentinel| sentinel.log()).collect();
            format!("{}\n{}", old.log(), sentinels.join("\n"))
        };
        assert!(holds_within(LONG, follows), "the old master stays a master: {}", logs());
        assert!(holds_within(LONG, || old.cli(&["get", "seat"]) == "booked"));
        assert_eq!(all.master().port(), new.port());
    }

    #[test]
    fn a_failover_without_a_failure_works_over_encrypted_connections() {
        let all = Sentinels::start(&Access::encrypted("sesame"), None);
        let old = all.master().port();
        all.fail_over();
        assert_ne!(named_by_majority(&all, old), old);
    }

    fn named_by_majority(all: &Sentinels, old: u16) -> u16 {
        assert!(holds_within(LONG, || all.master().port() != old));
        all.master().port()
    }

    #[test]
    fn a_cluster_serves_the_other_slots_without_a_node_and_all_with_it() {
        let cluster = RedisCluster::start(&Access::default(), false);
        for key in ["a", "b", "c", "d", "e", "f"] {
            let owner = &cluster.nodes()[cluster.first_owner(cluster.slot_of(key))];
            assert_eq!(owner.cli(&["set", key, "1"]), "OK");
        }
        let [first, second, _] = cluster.nodes() else { panic!("not three") };
        first.kill();
        let gone = || second.cli(&["cluster", "nodes"]).contains("fail");
        assert!(holds_within(LONG, gone));
        let key = (0..).map(|n: u32| n.to_string());
        let mut key = key.filter(|key| cluster.first_owner(cluster_slot(&cluster, key)) == 1);
        assert_eq!(second.cli(&["set", &key.next().unwrap(), "1"]), "OK");
        first.restart();
        cluster.wait_until_whole();
    }

    /// The slot of a key, as a running node computes it.
    fn cluster_slot(cluster: &RedisCluster, key: &str) -> u16 {
        cluster.nodes()[1].cli(&["cluster", "keyslot", key]).parse().unwrap()
    }

    #[test]
    fn a_replica_takes_the_place_of_a_killed_node() {
        let cluster = RedisCluster::start(&Access::by_password("sesame"), true);
        cluster.nodes()[2].kill();
        cluster.wait_until_replaced(2);
        cluster.nodes()[2].restart();
        cluster.wait_until_whole();
    }

    #[test]
    fn a_slot_moves_with_its_keys_over_encrypted_connections() {
        let cluster = RedisCluster::start(&Access::encrypted("sesame"), false);
        let slot = cluster.slot_of("seat");
        let from = cluster.first_owner(slot);
        let to = (from + 1) % RedisCluster::MASTERS;
        let (old, new) = (&cluster.nodes()[from], &cluster.nodes()[to]);
        assert_eq!(old.cli(&["set", "seat", "held"]), "OK");
        cluster.begin_move(slot, from, to);
        assert_eq!(old.cli(&["get", "seat"]), "held");
        assert!(old.cli(&["get", "{seat}2"]).starts_with("ASK "));
        cluster.end_move(slot, from, to);
        assert!(old.cli(&["get", "seat"]).starts_with("MOVED "));
        assert_eq!(new.cli(&["get", "seat"]), "held");
    }
}
