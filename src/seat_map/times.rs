//! The times of the seat maps, each with what it bounds; docs/seat-map-consistency.md explains how they fit together.

use std::time::Duration;

/// The age of a map up to which it is answered without a read.
pub(super) const FRESH: Duration = Duration::from_millis(200);

/// The age from which a map is not answered while a database answers, and refuses nothing.
pub(super) const STALE: Duration = Duration::from_millis(450);

/// The pause between two reads of the journal that announcements of other processes cause.
pub(super) const ANNOUNCEMENT_PAUSE: Duration = Duration::from_millis(20);

/// How long a reader with an older map waits for the databases.
pub(super) const READ_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a request that a map may refuse waits for the primary to confirm the map.
pub(super) const CONFIRM_TIMEOUT: Duration = Duration::from_millis(250);

/// How long a database that failed is not asked again, nor for a version that even the primary does not have.
pub(super) const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The pause between two shared maps of one schedule.
pub(super) const SHARE_INTERVAL: Duration = Duration::from_secs(1);

/// How long Redis keeps the version at which seats were freed: far longer than a map refuses without a read.
pub(super) const FREED_TTL: Duration = Duration::from_secs(60);

/// The pause between two published versions of a large map, which cost an encoding each.
pub(super) const PUBLISH_INTERVAL: Duration = Duration::from_millis(250);

/// The pause between two updates of a stream without listeners.
pub(super) const STREAM_INTERVAL: Duration = Duration::from_millis(50);

/// What each listener adds to that pause: writing one update to all of them takes about half of it.
pub(super) const STREAM_INTERVAL_PER_LISTENER: Duration = Duration::from_micros(40);

/// The longest time between a change and its update.
pub(super) const STREAM_INTERVAL_MAX: Duration = Duration::from_millis(500);

/// How long a stream stays silent before a keep-alive, so that proxies do not close it.
pub(super) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// How long a stream without listeners remembers changes for listeners that come back.
pub(super) const STREAM_IDLE_MAX: Duration = Duration::from_secs(30);
