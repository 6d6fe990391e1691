//! The slot of a command, and the master of each slot, without I/O.
//!
//! <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>

use deadpool_redis::redis::{Arg, Cmd, Value};

use super::settings::Address;

/// The number of slots of a cluster.
pub(super) const SLOTS: u16 = 16_384;

/// Commands without a key, which any server can answer.
const KEYLESS: [&str; 8] =
    ["CLUSTER", "CONFIG", "ECHO", "INFO", "PING", "PUBLISH", "SCRIPT", "TIME"];

/// Commands whose keys follow a text and the number of keys.
const COUNTED: [&str; 6] = ["EVAL", "EVALSHA", "EVALSHA_RO", "EVAL_RO", "FCALL", "FCALL_RO"];

/// The slot of a command's first key; `None` if any server can answer.
pub(super) fn slot_of(command: &Cmd) -> Option<u16> {
    let mut arguments = command.args_iter().map(|argument| match argument {
        Arg::Simple(bytes) => bytes,
        _ => &[][..],
    });
    let name = arguments.next()?;
    let is = |known: &&str| known.as_bytes().eq_ignore_ascii_case(name);
    if KEYLESS.iter().any(&is) {
        return None;
    }
    if COUNTED.iter().any(is) {
        let keys = arguments.nth(1)?;
        return if keys == b"0" { None } else { arguments.next().map(slot) };
    }
    arguments.next().map(slot)
}

/// CRC16 (XMODEM) of the key, or of its hash tag if it has a hash tag that is not empty.
fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = key.get(open + 1..)?;
        rest.get(..rest.iter().position(|byte| *byte == b'}')?)
    });
    crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(key)) % SLOTS
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

/// A range of slots and their master.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SlotRange {
    first: u16,
    last: u16,
    master: Address,
}

/// The master of each slot. Without a cluster, one server has all the slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SlotMap {
    /// If ranges overlap, the last one is used.
    ranges: Vec<SlotRange>,
}

impl SlotMap {
    /// A map in which one server has all slots.
    pub(super) fn single(master: Address) -> Self {
        Self { ranges: vec![SlotRange { first: 0, last: SLOTS - 1, master }] }
    }

    /// Parses the answer to CLUSTER SLOTS of the server at the host `asked`; `None` if it names no server.
    pub(super) fn parse(answer: &Value, asked: &str) -> Option<Self> {
        let Value::Array(ranges) = answer else { return None };
        let ranges: Vec<_> = ranges.iter().filter_map(|range| slot_range(range, asked)).collect();
        (!ranges.is_empty()).then_some(Self { ranges })
    }

    /// The master of the slot; `None` if no server has the slot.
    pub(super) fn master_of(&self, slot: u16) -> Option<&Address> {
        let has = |range: &&SlotRange| (range.first..=range.last).contains(&slot);
        self.ranges.iter().rev().find(has).map(|range| &range.master)
    }

    /// Every master once.
    pub(super) fn masters(&self) -> Vec<&Address> {
        let mut masters = Vec::new();
        for range in &self.ranges {
            if !masters.contains(&&range.master) {
                masters.push(&range.master);
            }
        }
        masters
    }

    /// The map after one slot has moved to another server.
    pub(super) fn with(&self, slot: u16, master: Address) -> Self {
        let mut ranges = self.ranges.clone();
        ranges.retain(|range| (range.first, range.last) != (slot, slot));
        ranges.push(SlotRange { first: slot, last: slot, master });
        Self { ranges }
    }
}

/// Parses `[first, last, [host, port, …], replica…]`. A null or empty host means the host `asked`.
fn slot_range(value: &Value, asked: &str) -> Option<SlotRange> {
    let Value::Array(parts) = value else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = parts.as_slice() else {
        return None;
    };
    let [host, Value::Int(port), ..] = master.as_slice() else { return None };
    let host = match host {
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        Value::SimpleString(host) => host,
        Value::Nil => "",
        _ => return None,
    };
    let host = match host {
        "" => asked,
        // The node should announce a host name, but none is configured.
        "?" => return None,
        host => host,
    };
    let master = Address { host: host.to_owned(), port: u16::try_from(*port).ok()? };
    let bound = |slot: &i64| u16::try_from(*slot).ok().filter(|slot| *slot < SLOTS);
    Some(SlotRange { first: bound(first)?, last: bound(last)?, master })
}

#[cfg(test)]
mod tests {
    use deadpool_redis::redis;

    use super::*;

    fn address(port: u16) -> Address {
        Address { host: "asked".into(), port }
    }

    fn answer(host: Value, ranges: &[(i64, i64, i64)]) -> Value {
        let one = |(first, last, port): &(i64, i64, i64)| {
            let master = Value::Array(vec![host.clone(), Value::Int(*port), Value::Nil]);
            Value::Array(vec![Value::Int(*first), Value::Int(*last), master])
        };
        Value::Array(ranges.iter().map(one).collect())
    }

    #[test]
    fn slots_agree_with_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(slot(b"{foo}:seat:1"), 12_182);
        assert_eq!(slot(b"a{foo}{bar}"), 12_182);
        assert_eq!(slot(b"foo{}"), crc16(b"foo{}") % SLOTS, "an empty tag is none");
        assert_eq!(slot(b"foo{"), crc16(b"foo{") % SLOTS);
    }

    #[test]
    fn a_command_has_the_slot_of_its_first_key() {
        let of = |words: &[&str]| {
            let mut command = redis::cmd(words[0]);
            command.arg(&words[1..]);
            slot_of(&command)
        };
        assert_eq!(of(&["GET", "foo"]), Some(12_182));
        assert_eq!(of(&["evalsha", "hash", "2", "{foo}1", "{foo}2", "argument"]), Some(12_182));
        assert_eq!(of(&["EVAL", "text", "0", "foo"]), None);
        assert_eq!(of(&["PUBLISH", "foo", "bar"]), None);
        assert_eq!(of(&["ping"]), None);
    }

    #[test]
    fn the_answer_of_a_node_is_parsed() {
        let host = Value::BulkString(b"asked".to_vec());
        let map = SlotMap::parse(&answer(host, &[(0, 99, 1), (100, 16_383, 2)]), "x").unwrap();
        assert_eq!(map.master_of(99), Some(&address(1)));
        assert_eq!(map.master_of(100), Some(&address(2)));
        assert_eq!(map.masters(), [&address(1), &address(2)]);
    }

    #[test]
    fn an_empty_host_is_that_of_the_node_that_answered() {
        for host in [Value::Nil, Value::BulkString(Vec::new())] {
            let map = SlotMap::parse(&answer(host, &[(0, 10, 1)]), "asked").unwrap();
            assert_eq!((map.master_of(10), map.master_of(11)), (Some(&address(1)), None));
        }
        let unknown = Value::BulkString(b"?".to_vec());
        assert_eq!(SlotMap::parse(&answer(unknown, &[(0, 10, 1)]), "asked"), None);
        assert_eq!(SlotMap::parse(&Value::Array(Vec::new()), "asked"), None);
        assert_eq!(SlotMap::parse(&Value::Okay, "asked"), None);
    }

    #[test]
    fn a_redirection_moves_one_slot_only() {
        let map = SlotMap::single(address(1)).with(7, address(2)).with(7, address(3));
        assert_eq!(map.master_of(7), Some(&address(3)));
        assert_eq!((map.master_of(6), map.master_of(8)), (Some(&address(1)), Some(&address(1))));
        assert_eq!(map.ranges.len(), 2);
    }
}
