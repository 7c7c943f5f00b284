//! Requirements of the provider `kind`.

use super::StepOutcome;
use crate::{doctor, e2e::provider::Kind, run_folder::ProviderName};

/// Checks programs, node image and resources.
pub(super) fn preflight(Kind { node_image }: &Kind) -> anyhow::Result<StepOutcome> {
    let support = doctor::provider_support(ProviderName::Kind, node_image.as_deref());
    anyhow::ensure!(
        support.works(),
        "provider kind cannot run on this machine: {}",
        support.why_not()
    );
    Ok(StepOutcome::Done)
}
