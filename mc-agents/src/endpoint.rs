//! An address that is spoken to over HTTP: checked before it is used, with a key that never shows.
//!
//! `https` anywhere (rustls with ring, the roots of the operating system), `http` only on this
//! machine. Redirects are not followed and nothing is sent twice unseen: each request is a call that
//! was paid for.

use std::fmt;
use std::time::Duration;

use mc_core::engine::ProviderError;
use mc_core::resilience::{CallFailure, OutputBegun};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url};

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

    fn hide(&self, text: &str) -> String {
        text.replace(&self.0, "***")
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
    let url = Url::parse(text).map_err(|fault| format!("`{text}` is no URL: {fault}"))?;
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
    key: Option<Secret>,
    timeout: Duration,
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
    pub(crate) fn new(
        url: Url,
        headers: HeaderMap,
        key: Option<Secret>,
        timeout: Duration,
    ) -> Result<Self, String> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Who comes first wins; another's choice is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .pool_idle_timeout(IDLE)
            .connect_timeout(CONNECT);
        let builder = if is_here(&url) {
            // No proxy stands between this machine and itself, and no certificate either.
            builder.no_proxy().tls_certs_only([])
        } else {
            builder
        };
        let client = builder.build().map_err(|error| deepest(&error))?;
        Ok(Self {
            client,
            url,
            headers,
            key,
            timeout,
        })
    }

    /// Sends JSON and returns the answer's head, whatever its status.
    pub(crate) async fn post(
        &self,
        body: Vec<u8>,
        more: HeaderMap,
    ) -> Result<Response, ProviderError> {
        let request = self.client.post(self.url.clone()).timeout(self.timeout);
        let request = request.headers(self.headers.clone()).headers(more);
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        request.send().await.map_err(|error| self.lost(&error))
    }

    /// What a status other than a success says; nothing of the answer had begun.
    pub(crate) fn refusal(&self, head: &Head, body: &[u8]) -> ProviderError {
        let failure = CallFailure::Status {
            code: head.status.as_u16(),
            output_begun: OutputBegun::No,
        };
        let said = body
            .get(..MAX_ERROR_BYTES.min(body.len()))
            .unwrap_or_default();
        let said = self.hide(String::from_utf8_lossy(said).trim());
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
        match &self.key {
            Some(key) => key.hide(text),
            None => text.to_owned(),
        }
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
        assert_eq!(key.hide("bad key sk-123!"), "bad key ***!");
        assert!(key.header("Bearer ").unwrap().is_sensitive());
        assert!(Secret::new("a\nb".to_owned()).header("").is_err());
    }
}
