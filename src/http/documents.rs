//! The API's document and the page that shows it (swagger-ui, from this binary): compressed once, when they
//! are first asked for, and shared by all readers.

use std::sync::{Arc, OnceLock};

use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;
use utoipa_swagger_ui::Config;

use crate::seat_map::ContentEncoding;

use super::problem::{Code, Problem};
use super::reply::{Keep, Readers};
use super::{Services, content_encoding, openapi, reply};

/// The files that the page consists of. The package has others, which nothing refers to.
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

/// The policy of the page: everything comes from here. swagger-ui sets styles and has images in its style
/// sheet, which do no harm.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                           img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
                           form-action 'none'; frame-ancestors 'none'";

/// What can be read of the API, as it is sent.
#[derive(Default)]
pub struct Documents {
    document: OnceLock<Asset>,
    files: [OnceLock<Option<Asset>>; FILES.len()],
}

impl Documents {
    fn document(&self) -> &Asset {
        self.document.get_or_init(|| Asset::new("application/json", openapi::json().into()))
    }

    fn file(&self, name: &str) -> Option<&Asset> {
        let name = if name.is_empty() { "index.html" } else { name };
        let place = FILES.iter().position(|file| *file == name)?;
        self.files.get(place)?.get_or_init(|| vendored(name)).as_ref()
    }
}

/// A file of swagger-ui that shows our document.
fn vendored(name: &str) -> Option<Asset> {
    let config = Arc::new(Config::from("/openapi.json"));
    let file = utoipa_swagger_ui::serve(name, config).ok().flatten()?;
    let body = match file.bytes {
        std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        std::borrow::Cow::Owned(bytes) => Bytes::from(bytes),
    };
    Some(Asset::new(&file.content_type, body))
}

/// A body that never changes while the process runs, in every coding that somebody has asked for.
struct Asset {
    media: String,
    digest: String,
    body: Bytes,
    gzip: OnceCell<Bytes>,
    brotli: OnceCell<Bytes>,
    zstd: OnceCell<Bytes>,
}

impl Asset {
    fn new(media: &str, body: Bytes) -> Self {
        let digest = Sha256::digest(&body);
        let digest = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let (gzip, brotli, zstd) = Default::default();
        Self { media: media.to_owned(), digest, body, gzip, brotli, zstd }
    }

    /// The body in a coding. Who asks while it is being compressed waits for it.
    async fn encoded(&self, coding: ContentEncoding) -> Result<Bytes, Problem> {
        let cell = match coding {
            ContentEncoding::Identity => return Ok(self.body.clone()),
            ContentEncoding::Gzip => &self.gzip,
            ContentEncoding::Brotli => &self.brotli,
            ContentEncoding::Zstd => &self.zstd,
        };
        let compress = async || {
            let body = self.body.to_vec();
            let compressed = tokio::task::spawn_blocking(move || coding.compress(body)).await;
            compressed.map_err(std::io::Error::other).flatten().map(Bytes::from)
        };
        let failed = |error| Problem::new(Code::Internal, "not compressed").because(error);
        cell.get_or_try_init(compress).await.cloned().map_err(failed)
    }

    async fn answer(&self, request: &HttpRequest) -> Result<HttpResponse, Problem> {
        let coding = content_encoding::coding(request);
        let body = self.encoded(coding).await?;
        let tag = format!("\"{}-{}\"", self.digest, coding.name());
        // After an upgrade no reader has files of two releases.
        let kept = (Keep::Confirmed, Readers::Anybody);
        let mut response = reply::conditional(request, &tag, kept, || {
            let mut response = HttpResponse::Ok();
            response.content_type(self.media.as_str());
            if coding != ContentEncoding::Identity {
                response.insert_header((header::CONTENT_ENCODING, coding.name()));
            }
            response.body(body)
        });
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        Ok(response)
    }
}

/// The documents, unless they are switched off.
fn switched_on(services: &Services) -> Result<&Documents, Problem> {
    let off = || Problem::new(Code::NotFound, "documents are switched off (DOCS=off)");
    services.documents.as_ref().ok_or_else(off)
}

/// Answers with the OpenAPI document.
pub(super) async fn document(
    services: Data<Services>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    switched_on(&services)?.document().answer(&request).await
}

/// Leads to the page.
pub(super) async fn entrance(services: Data<Services>) -> Result<HttpResponse, Problem> {
    switched_on(&services)?;
    Ok(HttpResponse::TemporaryRedirect().insert_header((header::LOCATION, "/docs/")).finish())
}

/// Answers with a file of the page.
pub(super) async fn file(
    services: Data<Services>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let name = request.match_info().get("file").unwrap_or_default();
    let file = switched_on(&services)?.file(name).ok_or_else(|| Problem::not_found("file"))?;
    let mut response = file.answer(&request).await?;
    let policy = HeaderValue::from_static(PAGE_POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_there_and_names_no_other() {
        let documents = Documents::default();
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
    async fn a_coding_is_made_once_and_shared() {
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
