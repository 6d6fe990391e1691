//! The OpenAPI document and the page that shows it (swagger-ui, embedded in this program). Each is compressed at the
//! first request, and all responses share the result.

use std::sync::{Arc, LazyLock, OnceLock};

use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;
use utoipa_swagger_ui::Config;

use crate::seat_map::ContentEncoding;

use super::problem::{Code, Problem};
use super::reply::CachePolicy;
use super::request::HttpResult;
use super::{Services, content_encoding, reply};

/// The files of the page. The package contains other files, which the page does not use.
const FILES: [&str; 8] = [
    "index.html",
    "index.css",
    "favicon-16x16.png",
    "favicon-32x32.png",
    "swagger-initializer.js",
    "swagger-ui.css",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
];

/// The Content-Security-Policy of the page: everything is loaded from this service. swagger-ui also needs inline
/// styles, and images in its style sheet; both are harmless.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                           img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
                           form-action 'none'; frame-ancestors 'none'";

/// The document and the files, ready to be sent.
pub struct Documents {
    document: LazyLock<Asset, Box<dyn FnOnce() -> Asset + Send>>,
    files: [OnceLock<Option<Asset>>; FILES.len()],
}

impl Documents {
    /// The documents. `document` makes the OpenAPI document, as JSON, for the first request.
    #[must_use]
    pub fn new(document: impl FnOnce() -> String + Send + 'static) -> Self {
        let document = move || Asset::new("application/json", document().into());
        Self { document: LazyLock::new(Box::new(document)), files: Default::default() }
    }

    fn file(&self, name: &str) -> Option<&Asset> {
        let name = if name.is_empty() { "index.html" } else { name };
        let index = FILES.iter().position(|file| *file == name)?;
        self.files.get(index)?.get_or_init(|| vendored(name)).as_ref()
    }
}

/// A file of swagger-ui, configured to show the document of this API.
fn vendored(name: &str) -> Option<Asset> {
    let config = Arc::new(Config::from("/openapi.json"));
    let file = utoipa_swagger_ui::serve(name, config).ok().flatten()?;
    let body = match file.bytes {
        std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        std::borrow::Cow::Owned(bytes) => Bytes::from(bytes),
    };
    Some(Asset::new(&file.content_type, body))
}

/// A body that does not change while the process runs, in every encoding that was requested.
struct Asset {
    content_type: String,
    digest: String,
    body: Bytes,
    /// The body in gzip, brotli and zstd.
    compressed: [OnceCell<Bytes>; 3],
}

impl Asset {
    fn new(content_type: &str, body: Bytes) -> Self {
        let digest = Sha256::digest(&body);
        let digest = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { content_type: content_type.to_owned(), digest, body, compressed: Default::default() }
    }

    /// The body in an encoding, compressed at the first request for it.
    async fn encoded(&self, encoding: ContentEncoding) -> Result<Bytes, Problem> {
        let [gzip, brotli, zstd] = &self.compressed;
        let cell = match encoding {
            ContentEncoding::Identity => return Ok(self.body.clone()),
            ContentEncoding::Gzip => gzip,
            ContentEncoding::Brotli => brotli,
            ContentEncoding::Zstd => zstd,
        };
        let compress = async || {
            let body = self.body.to_vec();
            let compressed = tokio::task::spawn_blocking(move || encoding.compress(body)).await;
            compressed.map_err(std::io::Error::other).flatten().map(Bytes::from)
        };
        let failed = |error| Problem::new(Code::Internal, "not compressed").because(error);
        cell.get_or_try_init(compress).await.cloned().map_err(failed)
    }

    async fn answer(&self, request: &HttpRequest) -> HttpResult {
        let encoding = content_encoding::negotiate(request);
        let tag = format!("\"{}-{}\"", self.digest, encoding.name());
        // Revalidated, so that no client mixes the files of two releases after an upgrade.
        let cache = CachePolicy::Revalidate.header(true);
        let body = self.encoded(encoding).await?;
        Ok(reply::encoded(request, &tag, cache, encoding, &self.content_type, body))
    }
}

/// The documents, unless they are switched off.
fn enabled(services: &Services) -> Result<&Documents, Problem> {
    let off = || Problem::new(Code::NotFound, "documents are switched off (DOCS=off)");
    services.documents.as_ref().ok_or_else(off)
}

/// Answers with the OpenAPI document.
pub(super) async fn document(services: Data<Arc<Services>>, request: HttpRequest) -> HttpResult {
    enabled(&services)?.document.answer(&request).await
}

/// Redirects to the page.
pub(super) async fn redirect(services: Data<Arc<Services>>) -> HttpResult {
    enabled(&services)?;
    Ok(HttpResponse::TemporaryRedirect().insert_header((header::LOCATION, "/docs/")).finish())
}

/// Answers with a file of the page.
pub(super) async fn file(services: Data<Arc<Services>>, request: HttpRequest) -> HttpResult {
    let name = request.match_info().get("file").unwrap_or_default();
    let file = enabled(&services)?.file(name).ok_or_else(|| Problem::not_found("file"))?;
    let mut response = file.answer(&request).await?;
    let policy = HeaderValue::from_static(PAGE_POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_exists_and_refers_to_no_other() {
        let documents = Documents::new(String::new);
        for name in FILES {
            assert!(documents.file(name).is_some(), "{name}");
        }
        let page = documents.file("").unwrap();
        let page = String::from_utf8(page.body.to_vec()).unwrap();
        for quoted in page.split("src=\"").chain(page.split("href=\"")).skip(1) {
            let name = quoted.split('"').next().unwrap().trim_start_matches("./");
            assert!(!name.contains('.') || FILES.contains(&name), "{name}");
        }
        let setting = documents.file("swagger-initializer.js").unwrap();
        assert!(String::from_utf8_lossy(&setting.body).contains("/openapi.json"));
        assert!(documents.file("swagger-ui.js.map").is_none());
    }

    #[tokio::test]
    async fn an_encoding_is_made_once_and_shared() {
        let asset = Asset::new("text/plain", Bytes::from("seat ".repeat(10_000)));
        let first = asset.encoded(ContentEncoding::Gzip).await.unwrap();
        let again = asset.encoded(ContentEncoding::Gzip).await.unwrap();
        assert_eq!(first.as_ptr(), again.as_ptr());
        assert!(first.len() < 2_000);
        assert_eq!(
            asset.encoded(ContentEncoding::Identity).await.unwrap().as_ptr(),
            asset.body.as_ptr()
        );
    }
}
