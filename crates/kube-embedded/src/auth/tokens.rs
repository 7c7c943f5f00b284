//! Tokens of service accounts: signed, so that they stay valid across a restart.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::User;
use crate::object::{self, text};
use crate::store::{Key, Store};

/// The audience of the API server itself.
pub const AUDIENCE: &str = "https://kubernetes.default.svc.cluster.local";
/// The table of the signing key, which is not served.
const TABLE: &str = "keys.kube-embedded";
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// Issues and verifies tokens.
#[derive(Debug)]
pub struct Signer {
    key: Vec<u8>,
}

/// An issued token.
#[derive(Debug)]
pub struct Token {
    /// The token.
    pub token: String,
    /// Expiry.
    pub expires: jiff::Timestamp,
}

impl Signer {
    pub(super) fn new(store: &Store) -> anyhow::Result<Self> {
        let entry_key = Key::new("", "signing");
        if let Some(entry) = store.get(TABLE, &entry_key) {
            return Ok(Self {
                key: STANDARD.decode(text(&entry.object(), "/key"))?,
            });
        }
        let key: Vec<u8> = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()]
            .iter()
            .flat_map(|part| *part.as_bytes())
            .collect();
        let kept = json!({"metadata": {"name": "signing"}, "key": STANDARD.encode(&key)});
        store
            .create(TABLE, entry_key, kept, &[])
            .map_err(|rejected| anyhow::anyhow!("cannot store the signing key: {rejected:?}"))?;
        Ok(Self { key })
    }

    fn sign(&self, message: &str) -> Result<String, String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).map_err(|error| error.to_string())?;
        mac.update(message.as_bytes());
        Ok(URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    /// Issues a token for a service account, as TokenRequest does.
    ///
    /// # Errors
    /// The token cannot be signed.
    pub fn issue(
        &self,
        account: &Value,
        audiences: &[String],
        seconds: i64,
        bound: Option<&Value>,
    ) -> Result<Token, String> {
        let now = jiff::Timestamp::now();
        let expires = now + jiff::SignedDuration::from_secs(seconds);
        let (namespace, name) = (object::meta(account, "namespace"), object::meta(account, "name"));
        let mut about = json!({"namespace": namespace, "serviceaccount": {"name": name, "uid": object::meta(account, "uid")}});
        if let Some(bound) = bound {
            about[text(bound, "/kind").to_lowercase()] = json!({"name": bound["name"], "uid": bound["uid"]});
        }
        let claims = json!({
            "aud": audiences, "exp": expires.as_second(), "iat": now.as_second(), "nbf": now.as_second(),
            "iss": AUDIENCE, "jti": uuid::Uuid::new_v4(), "kubernetes.io": about,
            "sub": format!("system:serviceaccount:{namespace}:{name}"),
        });
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(HEADER),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = self.sign(&message)?;
        Ok(Token {
            token: format!("{message}.{signature}"),
            expires,
        })
    }

    pub(super) fn verify(
        &self,
        store: &Store,
        token: &str,
        audiences: &[String],
    ) -> Result<(User, Vec<String>), String> {
        let invalid = || "invalid bearer token".to_owned();
        let (message, signature) = token.rsplit_once('.').ok_or_else(invalid)?;
        if self.sign(message)? != signature {
            return Err(invalid());
        }
        let claims = message
            .split_once('.')
            .and_then(|(_, claims)| URL_SAFE_NO_PAD.decode(claims).ok())
            .ok_or_else(invalid)?;
        let claims: Value = serde_json::from_slice(&claims).map_err(|_| invalid())?;
        let now = jiff::Timestamp::now().as_second();
        if claims["exp"].as_i64().is_none_or(|end| end <= now) {
            return Err("[invalid bearer token, service account token has expired]".to_owned());
        }
        let own = object::strings(claims.get("aud"));
        let shared: Vec<String> = audiences
            .iter()
            .filter(|audience| own.contains(&audience.as_str()))
            .cloned()
            .collect();
        if shared.is_empty() {
            return Err(format!(
                "[invalid bearer token, token audiences {own:?} is invalid for the target audiences {audiences:?}]"
            ));
        }
        let about = &claims["kubernetes.io"];
        let (namespace, name) = (text(about, "/namespace"), text(about, "/serviceaccount/name"));
        let uid = text(about, "/serviceaccount/uid");
        let alive = |table: &str, name: &str, uid: &str| {
            store
                .get(table, &Key::new(namespace, name))
                .is_some_and(|entry| &*entry.uid == uid)
        };
        if !alive("serviceaccounts", name, uid) {
            return Err(format!(
                "[invalid bearer token, serviceaccounts \"{name}\" not found]"
            ));
        }
        for (kind, table) in [("pod", "pods"), ("secret", "secrets")] {
            if let Some(bound) = about.get(kind)
                && !alive(table, text(bound, "/name"), text(bound, "/uid"))
            {
                return Err(format!(
                    "[invalid bearer token, the {kind} that the token is bound to is gone]"
                ));
            }
        }
        let mut user = User::service_account(namespace, name, uid);
        let id = text(&claims, "/jti");
        user.extra.insert(
            "authentication.kubernetes.io/credential-id".into(),
            vec![format!("JTI={id}")],
        );
        Ok((user, shared))
    }
}
