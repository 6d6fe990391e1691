//! How answers leave: in slices, so that a reader who takes nothing makes the server hold one slice and not
//! a copy of the whole, and within a budget of memory for answers that are made for one reader.
//!
//! actix copies what a body yields into the connection's buffer until 32 kB are in it. A body that yields
//! itself whole is copied whole, once per connection; a body that yields slices is shared up to the slice
//! that is being sent.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::Method;
use actix_web::web::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Code, Problem};

/// The most bytes that a body gives to its connection at a time.
pub(super) const SLICE: usize = 32 * 1024;

/// Bytes that answers of the API which were made for one reader may hold together.
const API_BUDGET: usize = 64 * 1024 * 1024;

/// The same for answers beside the API, which need no key.
const OPEN_BUDGET: usize = 16 * 1024 * 1024;

/// A body on its way: in slices if it is all there, as it comes otherwise.
pub struct Outgoing(Inner);

enum Inner {
    Whole { rest: Bytes, _held: Option<Arc<Held>> },
    Other(BoxBody),
}

impl Outgoing {
    /// The body of an answer that counts nowhere: it is small, shared, or may not be refused any more.
    pub(super) fn uncounted(body: BoxBody) -> Self {
        match whole(body) {
            Ok(rest) => Self(Inner::Whole { rest, _held: None }),
            Err(body) => Self(Inner::Other(body)),
        }
    }
}

/// The bytes of a body that is all there; none of a body that is absent, which is not the same as empty.
fn whole(body: BoxBody) -> Result<Bytes, BoxBody> {
    if matches!(body.size(), BodySize::None) { Err(body) } else { body.try_into_bytes() }
}

impl MessageBody for Outgoing {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        match &self.0 {
            Inner::Whole { rest, .. } => BodySize::Sized(rest.len() as u64),
            Inner::Other(body) => body.size(),
        }
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        match &mut self.get_mut().0 {
            Inner::Whole { rest, .. } if rest.is_empty() => Poll::Ready(None),
            Inner::Whole { rest, .. } => {
                Poll::Ready(Some(Ok(rest.split_to(SLICE.min(rest.len())))))
            }
            Inner::Other(body) => Pin::new(body).poll_next(context),
        }
    }
}

/// The answers that are on their way and were made for one reader: pages of lists, filtered maps, plans. What
/// they hold together has a bound. Equal ones are held once.
pub struct Budget {
    api: Pool,
    open: Pool,
}

impl Default for Budget {
    fn default() -> Self {
        Self { api: Pool::new(API_BUDGET), open: Pool::new(OPEN_BUDGET) }
    }
}

impl Budget {
    /// Takes an answer to be sent. Only a read is refused: what a write has done must be said.
    pub(super) fn admit(
        &self,
        (method, path): (&Method, &str),
        body: BoxBody,
    ) -> Result<Outgoing, Problem> {
        let bytes = match whole(body) {
            Ok(bytes) => bytes,
            Err(body) => return Ok(Outgoing(Inner::Other(body))),
        };
        // Others share it already, or it is part of the program.
        if bytes.len() <= SLICE || !bytes.is_unique() || !method.is_safe() {
            return Ok(Outgoing(Inner::Whole { rest: bytes, _held: None }));
        }
        let pool = if path.starts_with("/api/") { &self.api } else { &self.open };
        let held = pool.hold(bytes).ok_or_else(|| {
            let detail = "too many large answers are waiting for their readers";
            Problem::new(Code::Overloaded, detail)
        })?;
        Ok(Outgoing(Inner::Whole { rest: held.bytes.clone(), _held: Some(held) }))
    }
}

/// An answer that counts until it is sent to its last reader.
struct Held {
    bytes: Bytes,
    _permit: OwnedSemaphorePermit,
}

struct Pool {
    /// A permit for each slice.
    room: Arc<Semaphore>,
    slices: usize,
    held: Mutex<HashMap<u64, Weak<Held>>>,
}

impl Pool {
    fn new(bytes: usize) -> Self {
        let slices = bytes / SLICE;
        Self { room: Arc::new(Semaphore::new(slices)), slices, held: Mutex::default() }
    }

    fn hold(&self, bytes: Bytes) -> Option<Arc<Held>> {
        let mut hash = DefaultHasher::new();
        bytes.hash(&mut hash);
        let hash = hash.finish();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let same = held.get(&hash).and_then(Weak::upgrade).filter(|held| held.bytes == bytes);
        if same.is_some() {
            return same;
        }
        // What is larger than the budget has it for itself.
        let slices = bytes.len().div_ceil(SLICE).min(self.slices);
        let permit = Arc::clone(&self.room).try_acquire_many_owned(u32::try_from(slices).ok()?);
        let new = Arc::new(Held { bytes, _permit: permit.ok()? });
        held.retain(|_, held| held.strong_count() > 0);
        held.insert(hash, Arc::downgrade(&new));
        Some(new)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use actix_web::body::{None as NoBody, SizedStream, to_bytes};
    use futures_util::{future, stream};

    use super::*;

    const READ: (&Method, &str) = (&Method::GET, "/api/v1/bookings");

    /// The sizes of what a body yields.
    async fn slices(mut body: Outgoing) -> Vec<usize> {
        let mut sizes = Vec::new();
        while let Some(slice) =
            future::poll_fn(|context| Pin::new(&mut body).poll_next(context)).await
        {
            sizes.push(slice.unwrap().len());
        }
        sizes
    }

    fn letters(letter: u8, length: usize) -> BoxBody {
        BoxBody::new(vec![letter; length])
    }

    #[tokio::test]
    async fn a_body_leaves_in_slices_and_says_its_whole_size() {
        for (length, sizes) in [
            (0, vec![]),
            (1, vec![1]),
            (SLICE, vec![SLICE]),
            (2 * SLICE + 1, vec![SLICE, SLICE, 1]),
        ] {
            let body = Outgoing::uncounted(letters(b'a', length));
            assert_eq!(body.size(), BodySize::Sized(length as u64));
            assert_eq!(slices(body).await, sizes);
        }
        let text: Vec<u8> = (0..100_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        let body = Budget::default().admit(READ, BoxBody::new(text.clone())).unwrap();
        assert_eq!(to_bytes(body).await.unwrap(), text);
    }

    #[tokio::test]
    async fn no_body_and_a_stream_are_left_as_they_are() {
        let none = Outgoing::uncounted(BoxBody::new(NoBody::new()));
        assert_eq!(none.size(), BodySize::None);
        let parts = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"ab"))]);
        let body = Budget::default().admit(READ, BoxBody::new(SizedStream::new(2, parts))).unwrap();
        assert_eq!(body.size(), BodySize::Sized(2));
        assert_eq!(slices(body).await, [2]);
    }

    #[test]
    fn a_slice_of_a_shared_body_is_no_copy() {
        let shared = Bytes::from(vec![7; 3 * SLICE]);
        let mut body = Outgoing::uncounted(BoxBody::new(shared.clone()));
        let mut context = Context::from_waker(std::task::Waker::noop());
        let Poll::Ready(Some(Ok(slice))) = Pin::new(&mut body).poll_next(&mut context) else {
            panic!("a slice is there");
        };
        assert_eq!(slice.as_ptr(), shared.as_ptr());
    }

    #[test]
    fn large_answers_to_single_readers_have_a_bound_until_they_are_sent() {
        let budget = Budget::default();
        let large = API_BUDGET / 2;
        let one = budget.admit(READ, letters(b'a', large)).unwrap();
        let _two = budget.admit(READ, letters(b'b', large)).unwrap();
        let refused = budget.admit(READ, letters(b'c', large)).err().unwrap();
        assert_eq!(refused.code, Code::Overloaded);
        assert!(budget.admit(READ, letters(b'a', large)).is_ok(), "an equal one is held once");
        assert!(budget.admit(READ, letters(b'c', SLICE)).is_ok(), "a small one does not count");
        let shared = Bytes::from(vec![b'c'; large]);
        assert!(budget.admit(READ, BoxBody::new(shared.clone())).is_ok(), "others share it");
        let write = (&Method::POST, READ.1);
        assert!(budget.admit(write, letters(b'c', large)).is_ok(), "it has had its effect");
        let beside = (&Method::GET, "/metrics");
        assert!(budget.admit(beside, letters(b'c', SLICE * 2)).is_ok(), "another budget");
        drop(one);
        assert!(budget.admit(READ, letters(b'c', large)).is_ok());
    }

    #[test]
    fn an_answer_larger_than_the_budget_is_sent_when_nothing_else_is() {
        let budget = Budget::default();
        let huge = budget.admit(READ, letters(b'a', API_BUDGET + SLICE)).unwrap();
        assert!(budget.admit(READ, letters(b'b', SLICE * 2)).is_err());
        drop(huge);
        assert!(budget.admit(READ, letters(b'b', SLICE * 2)).is_ok());
    }
}
