//! An address that is spoken to over HTTP: checked before it is used, with a key that never shows.
//!
//! `https` anywhere (rustls with ring, the roots of the operating system or those of `ca_file`), `http`
//! only on this machine. Redirects are not followed and nothing is sent twice unseen: each request is a call that
//! was paid for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use mc_core::engine::ProviderError;
use mc_core::resilience::{CallFailure, OutputBegun};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Body, Certificate, Client, Response, StatusCode, Url};

use crate::hiding::{Secrets, beginning};

/// The most bytes of a body.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
/// The most bytes of an error's body that are kept.
const MAX_ERROR_BYTES: usize = 4 * 1024;
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// How long an idle connection is kept: shorter than providers keep theirs, so that a call does not
/// meet one that is being closed.
const IDLE: Duration = Duration::from_secs(20);

/// A key; it has no text that shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A key.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// A header with the key in it, marked so that nobody prints it.
    ///
    /// # Errors
    /// Where the key cannot stand in a header.
    pub(crate) fn header(&self, before: &str) -> Result<HeaderValue, String> {
        let value = HeaderValue::from_str(&format!("{before}{}", self.0));
        let mut value =
            value.map_err(|_| "it has characters that no header may have".to_owned())?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The key itself.
    pub(crate) const fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The key as a text that must not show.
    pub(crate) fn hidden(&self) -> Secrets {
        Secrets::new([self.0.clone()])
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Reads an address.
///
/// # Errors
/// Why it is none, in words.
pub(crate) fn url(text: &str) -> Result<Url, String> {
    // The text is not repeated: there may be a password in it.
    let url = Url::parse(text).map_err(|fault| format!("it is no URL: {fault}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("an address has no user and no password: name a key with key_env".to_owned());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_here(&url) => Ok(url),
        "http" => Err("plain http is only for this machine: use https".to_owned()),
        other => Err(format!(
            "an address is https, or http on this machine, not {other}"
        )),
    }
}

fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse()
            .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// Where requests go.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    client: Client,
    url: Url,
    headers: HeaderMap,
    secrets: Secrets,
    timeout: Duration,
}

/// What an address needs besides: the key that must not show, the authority of its certificate where
/// that is none of the operating system's, and how long an answer may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reaching<'a> {
    pub(crate) key: Option<&'a Secret>,
    pub(crate) authority: Option<&'a Authority>,
    pub(crate) timeout: Duration,
}

/// Certificates that are trusted in place of the operating system's.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority(Vec<u8>);

impl Authority {
    /// Certificates as PEM.
    ///
    /// # Errors
    /// Why they are none, in words.
    pub fn pem(bytes: Vec<u8>) -> Result<Self, String> {
        let this = Self(bytes);
        match this.certificates() {
            Ok(some) if some.is_empty() => Err("it has no certificate as PEM".to_owned()),
            Ok(_) => Ok(this),
            Err(fault) => Err(fault),
        }
    }

    fn certificates(&self) -> Result<Vec<Certificate>, String> {
        Certificate::from_pem_bundle(&self.0).map_err(|error| deepest(&error))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({} bytes)", self.0.len())
    }
}

/// Whether an address can be reached with the certificates that are named for it.
///
/// # Errors
/// What to do, in words: no public authority vouches for this machine, and plain `http` needs none.
pub(crate) fn certified(url: &Url, authority: Option<&Authority>) -> Result<(), &'static str> {
    match (url.scheme(), is_here(url), authority) {
        ("https", true, None) => Err(
            "https on this machine needs ca_file, the certificate of its authority as PEM; \
             or use plain http",
        ),
        ("http", _, Some(_)) => Err("plain http has no certificate: leave ca_file out"),
        _ => Ok(()),
    }
}

/// Whether a request has begun to go out: its body is asked for once there is a connection, and not
/// before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gone(Arc<AtomicBool>);

impl Gone {
    pub(crate) fn is_out(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// The body, which notes when it is asked for.
    fn noted(&self, body: Vec<u8>) -> Body {
        let out = Arc::clone(&self.0);
        let body = Body::from(body).map_frame(move |frame| {
            out.store(true, Ordering::Release);
            frame
        });
        Body::wrap(body)
    }
}

/// What stands before an answer's body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    retry_after: Option<Duration>,
}

impl Head {
    pub(crate) fn of(response: &Response) -> Self {
        Self {
            status: response.status(),
            retry_after: retry_after(response.headers()),
        }
    }
}

impl Endpoint {
    /// An endpoint.
    ///
    /// # Errors
    /// Where no client can be made: the system's certificates cannot be read, for example.
    pub(crate) fn new(url: Url, headers: HeaderMap, how: Reaching<'_>) -> Result<Self, String> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Who comes first wins; another's choice is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        certified(&url, how.authority)?;
        let builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .pool_idle_timeout(IDLE)
            .connect_timeout(CONNECT);
        // No proxy stands between this machine and itself.
        let builder = if is_here(&url) {
            builder.no_proxy()
        } else {
            builder
        };
        let builder = match how.authority {
            Some(authority) => builder.tls_certs_only(authority.certificates()?),
            // Plain http: the operating system's certificates need not even be read.
            None if is_here(&url) => builder.tls_certs_only([]),
            None => builder,
        };
        let client = builder.build().map_err(|error| deepest(&error))?;
        Ok(Self {
            client,
            url,
            headers,
            secrets: how.key.map(Secret::hidden).unwrap_or_default(),
            timeout: how.timeout,
        })
    }

    /// Sends JSON and returns the answer's head, whatever its status.
    pub(crate) async fn post(
        &self,
        body: Vec<u8>,
        more: HeaderMap,
        gone: &Gone,
    ) -> Result<Response, ProviderError> {
        let request = self.client.post(self.url.clone()).timeout(self.timeout);
        let request = request.headers(self.headers.clone()).headers(more);
        let request = request.header(CONTENT_TYPE, "application/json");
        let request = request.header(CONTENT_LENGTH, body.len());
        let sent = request.body(gone.noted(body)).send().await;
        sent.map_err(|error| {
            let mut lost = self.lost(&error);
            if !gone.is_out() && lost.failure != CallFailure::NotSent {
                lost.failure = CallFailure::Unreachable;
            }
            lost
        })
    }

    /// What a status other than a success says; nothing of the answer had begun.
    pub(crate) fn refusal(&self, head: &Head, body: &[u8]) -> ProviderError {
        let failure = CallFailure::Status {
            code: head.status.as_u16(),
            output_begun: OutputBegun::No,
        };
        // Hidden first: a key that is cut in two is not found.
        let said = self.hide(String::from_utf8_lossy(body).trim());
        let said = beginning(&said, MAX_ERROR_BYTES);
        let mut error = ProviderError::new(failure, format!("status {}: {said}", head.status));
        error.retry_after = head.retry_after;
        error
    }

    /// The whole body.
    pub(crate) async fn bytes(&self, response: &mut Response) -> Result<Vec<u8>, ProviderError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk(response).await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_BODY_BYTES {
                let message = "the answer is larger than 64 MiB";
                return Err(ProviderError::new(CallFailure::Reset, message));
            }
        }
        Ok(bytes)
    }

    /// The next part of the body.
    pub(crate) async fn chunk(
        &self,
        response: &mut Response,
    ) -> Result<Option<Vec<u8>>, ProviderError> {
        let chunk = response.chunk().await;
        chunk
            .map(|some| some.map(|bytes| bytes.to_vec()))
            .map_err(|error| self.lost(&error))
    }

    /// The text without the key.
    pub(crate) fn hide(&self, text: &str) -> String {
        self.secrets.hide(text)
    }

    /// What must not show.
    pub(crate) const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    fn lost(&self, error: &reqwest::Error) -> ProviderError {
        let failure = match () {
            () if error.is_builder() => CallFailure::NotSent,
            () if error.is_connect() => CallFailure::Unreachable,
            () if error.is_timeout() => CallFailure::Timeout,
            () => CallFailure::Reset,
        };
        let host = self.url.host_str().unwrap_or_default();
        ProviderError::new(failure, self.hide(&format!("{host}: {}", deepest(error))))
    }
}

/// The cause at the bottom: the layers above it only say that something below failed.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}

/// How long the provider asks to wait: in seconds, in milliseconds, or until a date, which is held
/// against the provider's own clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &'static str| headers.get(HeaderName::from_static(name))?.to_str().ok();
    let number = |text: &str| text.trim().parse::<f64>().ok();
    if let Some(ms) = text("retry-after-ms").and_then(number) {
        return Duration::try_from_secs_f64(ms / 1_000.0).ok();
    }
    let wait = text("retry-after")?;
    if let Some(seconds) = number(wait) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = |text: &str| chrono::DateTime::parse_from_rfc2822(text).ok();
    let (until, now) = (date(wait)?, date(text("date")?)?);
    until.signed_duration_since(now).to_std().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_only_for_this_machine() {
        for good in [
            "https://api.openai.com/v1",
            "http://127.0.0.1:8080",
            "http://[::1]/v1",
            "http://localhost:11434/v1",
        ] {
            assert!(url(good).is_ok(), "{good}");
        }
        for bad in [
            "http://api.openai.com/v1",
            "http://localhost.evil.com",
            "ftp://a.b",
            "v1",
            "",
            "https://user:key@a.b/",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_that_is_refused_is_not_repeated_with_its_password() {
        for bad in [
            "https://user:hunter22@host:99999/",
            "https://user:hunter22@[::1/",
            "user:hunter22@host",
            "ftp://user:hunter22@host/",
        ] {
            let refused = url(bad).unwrap_err();
            assert!(!refused.contains("hunter22"), "{refused}");
        }
    }

    #[test]
    fn a_wish_to_wait_is_in_seconds_in_milliseconds_or_a_date() {
        let wait = |rows: &[(&'static str, &'static str)]| {
            let rows = rows.iter();
            let rows = rows.map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            });
            retry_after(&rows.collect())
        };
        assert_eq!(wait(&[("retry-after", "3")]), Some(Duration::from_secs(3)));
        let both = [("retry-after", "3"), ("retry-after-ms", "250")];
        assert_eq!(wait(&both), Some(Duration::from_millis(250)));
        let until = "Wed, 21 Oct 2026 07:28:10 GMT";
        let dates = [
            ("retry-after", until),
            ("date", "Wed, 21 Oct 2026 07:28:00 GMT"),
        ];
        assert_eq!(wait(&dates), Some(Duration::from_secs(10)));
        assert_eq!(wait(&[("retry-after", until)]), None);
        assert_eq!(wait(&[("retry-after", "-1")]), None);
    }

    #[test]
    fn a_key_does_not_show() {
        let key = Secret::new("sk-123".to_owned());
        assert_eq!(format!("{key:?}"), "Secret(***)");
        assert_eq!(key.hidden().hide("bad key sk-123!"), "bad key ***!");
        assert!(key.header("Bearer ").unwrap().is_sensitive());
        assert!(Secret::new("a\nb".to_owned()).header("").is_err());
    }

    fn at(text: &str, key: Option<&Secret>) -> Endpoint {
        let how = Reaching {
            key,
            authority: None,
            timeout: Duration::from_secs(1),
        };
        Endpoint::new(url(text).unwrap(), HeaderMap::new(), how).unwrap()
    }

    #[test]
    fn a_key_that_a_long_refusal_repeats_at_its_cut_does_not_show_in_part() {
        let key = Secret::new("sk-0123456789".to_owned());
        let endpoint = at("http://127.0.0.1:1", Some(&key));
        let body = format!("{}sk-0123456789", "x".repeat(MAX_ERROR_BYTES - 6));
        let head = Head {
            status: StatusCode::BAD_REQUEST,
            retry_after: None,
        };
        let said = endpoint.refusal(&head, body.as_bytes()).message;
        assert!(!said.contains("sk-"), "{said}");
        assert!(said.len() < MAX_ERROR_BYTES + 40, "{}", said.len());
    }

    #[test]
    fn https_on_this_machine_is_refused_without_an_authority() {
        let here = url("https://127.0.0.1:8443/v1").unwrap();
        assert!(certified(&here, None).unwrap_err().contains("ca_file"));
        assert!(certified(&url("https://a.b").unwrap(), None).is_ok());
        assert!(Authority::pem(b"no certificate".to_vec()).is_err());
        let authority = Authority::pem(tls::AUTHORITY.into()).unwrap();
        assert!(certified(&here, Some(&authority)).is_ok());
        let plain = url("http://127.0.0.1/v1").unwrap();
        assert!(certified(&plain, Some(&authority)).is_err());
    }
}

#[cfg(test)]
mod tls;
