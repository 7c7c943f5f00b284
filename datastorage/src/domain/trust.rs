//! The keys with which a history is verified. None of them is in the database.

use tlog::VerifierKey;

use super::chain::Keys;

/// What verification trusts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    /// HMAC keys of the chains.
    pub(crate) chain: Keys,
    /// Public key of the transparency log.
    pub(crate) log: Option<VerifierKey>,
}
