//! Bodies of responses. A body is sent in slices, so that the server buffers one slice for a slow client instead of a
//! copy of the whole body. Responses that are made for one client have a memory budget.
//!
//! actix fills the buffer of a connection up to 32 kB, but copies each chunk of a body whole.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::Method;
use actix_web::web::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Code, Problem};

/// The most bytes that a body passes to its connection at a time.
pub(super) const SLICE: usize = 32 * 1024;

/// The budget in bytes of all responses of the API that are made for one client each.
const API_BUDGET: usize = 64 * 1024 * 1024;

/// The budget in bytes of responses outside the API, which need no key.
const OPEN_BUDGET: usize = 16 * 1024 * 1024;

/// The body of a response: in slices if it is complete, as it is produced otherwise.
pub struct ResponseBody(Inner);

enum Inner {
    Complete { rest: Bytes, _counted: Option<Arc<CountedBody>> },
    Streamed(BoxBody),
}

impl ResponseBody {
    /// A body outside the budget: it is small or shared, or must not be refused.
    pub(super) fn uncounted(body: BoxBody) -> Self {
        match complete(body) {
            Ok(rest) => Self(Inner::Complete { rest, _counted: None }),
            Err(body) => Self(Inner::Streamed(body)),
        }
    }
}

/// The bytes of a complete body. An absent body, unlike an empty one, has no bytes and is returned as it is.
fn complete(body: BoxBody) -> Result<Bytes, BoxBody> {
    if matches!(body.size(), BodySize::None) { Err(body) } else { body.try_into_bytes() }
}

impl MessageBody for ResponseBody {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        match &self.0 {
            Inner::Complete { rest, .. } => BodySize::Sized(rest.len() as u64),
            Inner::Streamed(body) => body.size(),
        }
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        match &mut self.get_mut().0 {
            Inner::Complete { rest, .. } if rest.is_empty() => Poll::Ready(None),
            Inner::Complete { rest, .. } => {
                Poll::Ready(Some(Ok(rest.split_to(SLICE.min(rest.len())))))
            }
            Inner::Streamed(body) => Pin::new(body).poll_next(context),
        }
    }
}

/// Bounds the memory of responses that are being sent and were made for one client: pages of lists, filtered maps,
/// plans. Equal bodies share their memory.
pub struct ResponseBudget {
    api: Pool,
    open: Pool,
}

impl Default for ResponseBudget {
    fn default() -> Self {
        Self { api: Pool::new(API_BUDGET), open: Pool::new(OPEN_BUDGET) }
    }
}

impl ResponseBudget {
    /// Counts a body against the budget until it has been sent. Only a read is refused: the effect of a write must be
    /// answered.
    pub(super) fn body(
        &self,
        method: &Method,
        path: &str,
        body: BoxBody,
    ) -> Result<ResponseBody, Problem> {
        let bytes = match complete(body) {
            Ok(bytes) => bytes,
            Err(body) => return Ok(ResponseBody(Inner::Streamed(body))),
        };
        // Bytes that are not unique are shared already, or are part of the program.
        if bytes.len() <= SLICE || !bytes.is_unique() || !method.is_safe() {
            return Ok(ResponseBody(Inner::Complete { rest: bytes, _counted: None }));
        }
        let pool = if path.starts_with("/api/") { &self.api } else { &self.open };
        let counted = pool.count(bytes).ok_or_else(|| {
            let detail = "too many large answers are waiting for their readers";
            Problem::new(Code::Overloaded, detail)
        })?;
        Ok(ResponseBody(Inner::Complete { rest: counted.bytes.clone(), _counted: Some(counted) }))
    }
}

/// A body that counts against the budget until it has been sent to its last client.
struct CountedBody {
    bytes: Bytes,
    _permit: OwnedSemaphorePermit,
}

struct Pool {
    /// A permit for each slice.
    permits: Arc<Semaphore>,
    slices: usize,
    counted: Mutex<HashMap<u64, Weak<CountedBody>>>,
}

impl Pool {
    fn new(bytes: usize) -> Self {
        let slices = bytes / SLICE;
        Self { permits: Arc::new(Semaphore::new(slices)), slices, counted: Mutex::default() }
    }

    fn count(&self, bytes: Bytes) -> Option<Arc<CountedBody>> {
        let mut hash = DefaultHasher::new();
        bytes.hash(&mut hash);
        let hash = hash.finish();
        let mut counted = self.counted.lock();
        let equal = counted.get(&hash).and_then(Weak::upgrade).filter(|body| body.bytes == bytes);
        if equal.is_some() {
            return equal;
        }
        // A body larger than the whole budget takes the whole budget.
        let slices = bytes.len().div_ceil(SLICE).min(self.slices);
        let permit = Arc::clone(&self.permits).try_acquire_many_owned(u32::try_from(slices).ok()?);
        let new = Arc::new(CountedBody { bytes, _permit: permit.ok()? });
        counted.retain(|_, body| body.strong_count() > 0);
        counted.insert(hash, Arc::downgrade(&new));
        Some(new)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use actix_web::body::{None as EmptyBody, SizedStream, to_bytes};
    use futures_util::{future, stream};

    use super::*;

    const READ: (&Method, &str) = (&Method::GET, "/api/v1/bookings");

    /// The sizes of the slices of a body.
    async fn slices(mut body: ResponseBody) -> Vec<usize> {
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
    async fn a_body_is_sent_in_slices_and_has_its_whole_size() {
        for (length, sizes) in [
            (0, vec![]),
            (1, vec![1]),
            (SLICE, vec![SLICE]),
            (2 * SLICE + 1, vec![SLICE, SLICE, 1]),
        ] {
            let body = ResponseBody::uncounted(letters(b'a', length));
            assert_eq!(body.size(), BodySize::Sized(length as u64));
            assert_eq!(slices(body).await, sizes);
        }
        let text: Vec<u8> = (0..100_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        let body =
            ResponseBudget::default().body(READ.0, READ.1, BoxBody::new(text.clone())).unwrap();
        assert_eq!(to_bytes(body).await.unwrap(), text);
    }

    #[tokio::test]
    async fn no_body_and_a_stream_are_not_changed() {
        let none = ResponseBody::uncounted(BoxBody::new(EmptyBody::new()));
        assert_eq!(none.size(), BodySize::None);
        let parts = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"ab"))]);
        let body = ResponseBudget::default()
            .body(READ.0, READ.1, BoxBody::new(SizedStream::new(2, parts)))
            .unwrap();
        assert_eq!(body.size(), BodySize::Sized(2));
        assert_eq!(slices(body).await, [2]);
    }

    #[test]
    fn a_slice_of_a_shared_body_is_no_copy() {
        let shared = Bytes::from(vec![7; 3 * SLICE]);
        let mut body = ResponseBody::uncounted(BoxBody::new(shared.clone()));
        let mut context = Context::from_waker(std::task::Waker::noop());
        let Poll::Ready(Some(Ok(slice))) = Pin::new(&mut body).poll_next(&mut context) else {
            panic!("the body has no slice");
        };
        assert_eq!(slice.as_ptr(), shared.as_ptr());
    }

    #[test]
    fn large_answers_for_one_client_have_a_bound_until_they_are_sent() {
        let budget = ResponseBudget::default();
        let large = API_BUDGET / 2;
        let one = budget.body(READ.0, READ.1, letters(b'a', large)).unwrap();
        let _two = budget.body(READ.0, READ.1, letters(b'b', large)).unwrap();
        let refused = budget.body(READ.0, READ.1, letters(b'c', large)).err().unwrap();
        assert_eq!(refused.code, Code::Overloaded);
        assert!(
            budget.body(READ.0, READ.1, letters(b'a', large)).is_ok(),
            "equal ones are counted once"
        );
        assert!(
            budget.body(READ.0, READ.1, letters(b'c', SLICE)).is_ok(),
            "a small one does not count"
        );
        let shared = Bytes::from(vec![b'c'; large]);
        assert!(
            budget.body(READ.0, READ.1, BoxBody::new(shared.clone())).is_ok(),
            "others share it"
        );
        let write = (&Method::POST, READ.1);
        assert!(
            budget.body(write.0, write.1, letters(b'c', large)).is_ok(),
            "a write is never refused"
        );
        let outside = (&Method::GET, "/metrics");
        assert!(
            budget.body(outside.0, outside.1, letters(b'c', SLICE * 2)).is_ok(),
            "another budget"
        );
        drop(one);
        assert!(budget.body(READ.0, READ.1, letters(b'c', large)).is_ok());
    }

    #[test]
    fn an_answer_larger_than_the_budget_is_sent_when_nothing_else_is() {
        let budget = ResponseBudget::default();
        let huge = budget.body(READ.0, READ.1, letters(b'a', API_BUDGET + SLICE)).unwrap();
        assert!(budget.body(READ.0, READ.1, letters(b'b', SLICE * 2)).is_err());
        drop(huge);
        assert!(budget.body(READ.0, READ.1, letters(b'b', SLICE * 2)).is_ok());
    }
}
