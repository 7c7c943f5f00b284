//! Control of local processes, by their records.

use std::{
    fs::File,
    io,
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use anyhow::{Context, bail};
use serde_json::Value;
use subprocess::Record;

use super::{Verb, stack_file, wait};
use crate::{
    run_folder::{RunFolder, names_in},
    workload::{GRACE, KUBERNETES},
};

pub(super) fn control(folder: &RunFolder, verb: Verb, name: &str) -> anyhow::Result<()> {
    let path = folder.process(name);
    if !path.exists() {
        bail!(
            "run {} has no process {name}; processes: {}",
            folder.run(),
            names_in(&folder.processes()).join(", ")
        );
    }
    let record = Record::read(&path)?;
    match verb {
        Verb::Stop => record.stop(GRACE)?,
        Verb::Kill => record.kill()?,
        Verb::Start if record.is_alive() => {}
        Verb::Start => start(folder, &record, name)?,
        Verb::Restart => {
            record.stop(GRACE)?;
            start(folder, &record, name)?;
        }
        Verb::Logs => {
            let log = record.log.with_context(|| format!("{name} has no log"))?;
            let mut file = File::open(&log).with_context(|| format!("cannot read {}", log.display()))?;
            io::copy(&mut file, &mut io::stdout().lock())?;
        }
    }
    Ok(())
}

fn start(folder: &RunFolder, record: &Record, name: &str) -> anyhow::Result<()> {
    let new = record.start(&folder.process(name))?;
    let address = address(folder, name)?;
    wait(
        &format!("{name} listens on {address}"),
        Duration::from_secs(60),
        || {
            if !new.is_alive() {
                let log = new.log.as_deref().unwrap_or(Path::new("")).display();
                bail!("{name} exited; its log: {log}");
            }
            Ok(TcpStream::connect_timeout(&address, Duration::from_secs(1))
                .err()
                .map(|error| error.to_string()))
        },
    )
}

/// Returns the address of a process; of a service its health port, which listens first.
fn address(folder: &RunFolder, name: &str) -> anyhow::Result<SocketAddr> {
    let stack = stack_file(folder)?;
    let url = match name {
        KUBERNETES => crate::yaml::server(&folder.kubeconfig())?,
        _ => {
            let service = stack["services"][name]["health"].as_str();
            let component = stack["components"][name]
                .as_object()
                .and_then(|urls| urls.values().find_map(Value::as_str));
            service
                .or(component)
                .with_context(|| format!("no URL of {name} in the run's stack file"))?
                .to_owned()
        }
    };
    let authority = url
        .split("://")
        .nth(1)
        .and_then(|rest| rest.split('/').next())
        .unwrap_or_default();
    let address = authority.rsplit('@').next().unwrap_or_default();
    address
        .parse()
        .with_context(|| format!("no IP address and port in {url}"))
}
