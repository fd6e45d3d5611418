//! A server on this machine with a certificate of an authority that nobody else knows.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;

/// The authority. The keys of these two vouch for nothing: they are made for this test alone.
pub(super) const AUTHORITY: &str = "-----BEGIN CERTIFICATE-----
MIIBmjCCAT+gAwIBAgIUHpcH7UcuxUGKnZ7RlXex/IiJ7fMwCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOdGVzdCBhdXRob3JpdHkwIBcNMjYxMTIyMDE0MTQzWhgPMjEy
NjEwMjkwMTQxNDNaMBkxFzAVBgNVBAMMDnRlc3QgYXV0aG9yaXR5MFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAEPgGqp9NFg7G5zpnI1RueCqjBjRY1iBcZa1mja+HN
O/G65AvAtluE3Bhm2stEnvN41MD0eQm6ZbpJx9TnJPEYXqNjMGEwHQYDVR0OBBYE
FNZmz2qO6Lw/VW2OezIQ6+6v8GRtMB8GA1UdIwQYMBaAFNZmz2qO6Lw/VW2OezIQ
6+6v8GRtMA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgIEMAoGCCqGSM49
BAMCA0kAMEYCIQDoQo3CXqt7vcGr27kGRpNCiZ5su8he/1eQBiXYYRIncAIhAJYs
HkiM9+zShiN/jp90qmGZw+2gfx5L9zoc4oyg8wBG
-----END CERTIFICATE-----";
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBsDCCAVWgAwIBAgIUGX7jGaRsCvxdzFOZqeeWPeoziRswCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOdGVzdCBhdXRob3JpdHkwIBcNMjYxMTIyMDE0MTQ0WhgPMjEy
NjEwMjkwMTQxNDRaMBQxEjAQBgNVBAMMCWxvY2FsaG9zdDBZMBMGByqGSM49AgEG
CCqGSM49AwEHA0IABBE3TUauO6nc9Jq0tdkd8/8W9PqbLwQDbmrc+kY5ucfC/C2Y
k9ljDfjCR7KN+HMssLLvzQYobey/kW/IwHkoqqCjfjB8MBoGA1UdEQQTMBGCCWxv
Y2FsaG9zdIcEfwAAATAJBgNVHRMEAjAAMBMGA1UdJQQMMAoGCCsGAQUFBwMBMB0G
A1UdDgQWBBTs7Oz5vpM9cWn7duB9fhIv/rp0BDAfBgNVHSMEGDAWgBTWZs9qjui8
P1VtjnsyEOvur/BkbTAKBggqhkjOPQQDAgNJADBGAiEA6c5Lz0hpfyNzGj6s+di3
kFL1OoU0FdhOVKcrQyGsvgICIQDPkP8r2gXhVuTGVOMgW3e6RfTichPv0NR4/7EQ
/7ptcw==
-----END CERTIFICATE-----";
const KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgJhvCgrvpIrXM+U2J
oqOxfy9d76TDGw02PAh0txRgNfWhRANCAAQRN01Grjup3PSatLXZHfP/FvT6my8E
A25q3PpGObnHwvwtmJPZYw34wkeyjfhzLLCy780GKG3sv5FvyMB5KKqg
-----END PRIVATE KEY-----";

/// Another authority.
const STRANGER: &str = "-----BEGIN CERTIFICATE-----
MIIBfjCCASOgAwIBAgIUW3nsRFKBjiwjJshTOzDfR1VhzwswCgYIKoZIzj0EAwIw
EzERMA8GA1UEAwwIc3RyYW5nZXIwIBcNMjYxMTIyMDE0NDQ5WhgPMjEyNjEwMjkw
MTQ0NDlaMBMxETAPBgNVBAMMCHN0cmFuZ2VyMFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAEQjOyURL+j6qCI9vwmUlbXV9WXb5M4whGPEZ/Q2QxC9GsrQ1VLes1JTyI
PaDMbU8bFOKSsOjE+Fvus+w36RRO/aNTMFEwHQYDVR0OBBYEFI4ymaNhKdqkLmbY
vklAoeHfU95gMB8GA1UdIwQYMBaAFI4ymaNhKdqkLmbYvklAoeHfU95gMA8GA1Ud
EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAO69ufK+hc9LRjsIhllbG+Q0
37fOLwo4oyAObyaH6D9NAiEA3Bei3rhvpkyHAKw7wt60Xmrs8CMXiHhe6cdGz1Ct
lBc=
-----END CERTIFICATE-----";

/// Answers one request over TLS, or none where its client goes away before.
fn serve() -> (u16, std::thread::JoinHandle<()>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let config = Arc::new(config.with_single_cert(vec![certificate], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
        if stream.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            drop(stream.write_all(answer));
        }
    });
    (port, thread)
}

fn post(port: u16, authority: &str) -> Result<Vec<u8>, ProviderError> {
    let authority = Authority::pem(authority.into()).unwrap();
    let how = Reaching {
        key: None,
        authority: Some(&authority),
        timeout: Duration::from_secs(30),
    };
    let url = url(&format!("https://localhost:{port}/v1")).unwrap();
    let endpoint = Endpoint::new(url, HeaderMap::new(), how).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let gone = Gone::default();
        let response = endpoint.post(b"{}".to_vec(), HeaderMap::new(), &gone);
        let mut response = response.await?;
        endpoint.bytes(&mut response).await
    })
}

#[test]
fn a_server_whose_authority_is_named_is_reached_over_https_on_this_machine() {
    let (port, thread) = serve();
    assert_eq!(post(port, AUTHORITY).unwrap(), b"ok");
    thread.join().unwrap();
}

#[test]
fn a_server_of_another_authority_is_not_asked() {
    let (port, thread) = serve();
    let failed = post(port, STRANGER).unwrap_err();
    assert_eq!(failed.failure, CallFailure::Unreachable, "{failed:?}");
    thread.join().unwrap();
}
