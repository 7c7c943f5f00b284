//! Authentication and authorization.

pub mod rbac;
pub mod reviews;
pub mod tokens;

use std::collections::{BTreeMap, HashMap};

use parking_lot::RwLock;

use crate::status::Status;
use crate::store::Store;
use tokens::Signer;

/// A user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// Name, such as `system:serviceaccount:default:gateway`.
    pub name: String,
    /// Uid; may be empty.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// Extra attributes.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// The administrator: a request without a token, which can only come from this machine.
    #[must_use]
    pub fn admin() -> Self {
        Self {
            name: "kubernetes-admin".into(),
            groups: vec!["system:masters".into(), "system:authenticated".into()],
            ..Self::default()
        }
    }

    /// A service account.
    #[must_use]
    pub fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        Self {
            name: format!("system:serviceaccount:{namespace}:{name}"),
            uid: uid.into(),
            groups: vec![
                "system:serviceaccounts".into(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".into(),
            ],
            extra: BTreeMap::new(),
        }
    }
}

/// Authenticates tokens.
#[derive(Debug)]
pub struct Auth {
    signer: Signer,
    given: RwLock<HashMap<String, User>>,
}

impl Auth {
    /// Creates an authenticator with the key in the store, or a new one.
    ///
    /// # Errors
    /// A new key cannot be stored.
    pub fn new(store: &Store) -> anyhow::Result<Self> {
        Ok(Self {
            signer: Signer::new(store)?,
            given: RwLock::default(),
        })
    }

    /// Issues tokens of service accounts.
    #[must_use]
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Accepts the tokens of a file in the form of the real server's `--token-auth-file`: lines of
    /// `token,user,uid[,"group,group"]`.
    ///
    /// # Errors
    /// An invalid line.
    pub fn accept(&self, file: &str) -> Result<(), String> {
        let mut given = self.given.write();
        for (number, line) in file
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
        {
            let mut parts = line.splitn(4, ',').map(|part| part.trim().trim_matches('"'));
            let (Some(token), Some(name), Some(uid)) = (parts.next(), parts.next(), parts.next()) else {
                return Err(format!(
                    "line {} is not in the form token,user,uid[,\"groups\"]",
                    number + 1
                ));
            };
            let mut groups: Vec<String> = parts
                .next()
                .unwrap_or_default()
                .split(',')
                .map(|group| group.trim().to_owned())
                .collect();
            groups.retain(|group| !group.is_empty());
            groups.push("system:authenticated".into());
            let user = User {
                name: name.into(),
                uid: uid.into(),
                groups,
                extra: BTreeMap::new(),
            };
            given.insert(token.to_owned(), user);
        }
        Ok(())
    }

    /// The user of a token, for one of the audiences; `Err` has the reason for its rejection.
    ///
    /// # Errors
    /// The token is unknown, forged, expired, for another audience, or its account is deleted.
    pub fn user_of(
        &self,
        store: &Store,
        token: &str,
        audiences: &[String],
    ) -> Result<(User, Vec<String>), String> {
        if let Some(user) = self.given.read().get(token) {
            return Ok((user.clone(), audiences.to_vec()));
        }
        self.signer.verify(store, token, audiences)
    }

    /// The user of a request with this `Authorization` header.
    ///
    /// # Errors
    /// 401.
    pub fn authenticate(&self, store: &Store, header: Option<&str>) -> Result<User, Status> {
        let Some(header) = header else {
            return Ok(User::admin());
        };
        let token = header
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let audiences = [tokens::AUDIENCE.to_owned()];
        token
            .and_then(|(_, token)| self.user_of(store, token.trim(), &audiences).ok())
            .map(|(user, _)| user)
            .ok_or_else(|| Status::plain(401, "Unauthorized", "Unauthorized"))
    }
}
