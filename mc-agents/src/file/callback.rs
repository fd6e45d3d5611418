//! `callback: { listen, url, secret_env }` of an agents file: where its http agents answer later.

use std::net::SocketAddr;

use serde_json::Value;

use super::fields::Fields;
use super::kinds::secret;
use super::place::Place;
use super::{AgentKind, AgentSpec};
use crate::callback::{Callback, CallbackSpec};
use crate::endpoint::url;

/// Where the http agents of a file are answered later, if it says so: for whoever has the control.
pub fn callback(specs: &[AgentSpec]) -> Option<&Callback> {
    specs.iter().find_map(|spec| match &spec.kind {
        AgentKind::Http(http) => http.callback.as_ref(),
        AgentKind::Recorded(_) | AgentKind::Command(_) | AgentKind::Chat(_) => None,
    })
}

/// Gives a callback to the http agents; whether there is one.
pub(super) fn give(callback: &Callback, specs: &mut [AgentSpec]) -> bool {
    let mut given = false;
    for spec in specs {
        if let AgentKind::Http(http) = &mut spec.kind {
            http.callback = Some(callback.clone());
            given = true;
        }
    }
    given
}

/// Reads it; none where it is absent or a fault was noted.
pub(super) fn read(top: &mut Fields<'_>, place: &Place) -> Option<Callback> {
    let value = top.find("callback")?;
    top.object("callback", value, |fields| fields_of(fields, place))?
}

fn fields_of(fields: &mut Fields<'_>, place: &Place) -> Option<Callback> {
    let text = fields.text("listen", "an address with a port, as 127.0.0.1:8790,");
    let listen = text.parse::<SocketAddr>();
    if listen.is_err() && !text.is_empty() {
        fields.fault("listen", "an IP address with a port, as 127.0.0.1:8790");
    }
    let public = fields.text_if("url").map(url);
    let public = public.transpose();
    let public = public.map_err(|rule| fields.fault("url", rule)).ok();
    let secret = secret(fields, place, "secret_env");
    if secret.is_none() && fields.find("secret_env").is_none_or(Value::is_null) {
        fields.fault("secret_env", "the name of a variable is required");
    }
    let spec = CallbackSpec {
        listen: listen.ok()?,
        url: public?,
        secret: secret?,
    };
    { Callback::new(spec) }
        .map_err(|error| fields.fault("secret_env", error.message()))
        .ok()
}
