//! The service as its callers and operators see it: the program itself, on real PostgreSQL and Redis.
//!
//! `cfg(test)` tells clippy that the helpers are tests' too.

#[cfg(test)]
mod auth;
#[cfg(test)]
mod catalogue;
#[cfg(test)]
mod chain;
#[cfg(test)]
mod command_line;
#[cfg(feature = "contract")]
#[cfg(test)]
mod contract;
#[cfg(feature = "privileged")]
#[cfg(test)]
mod disk;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod queries;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod stack;
#[cfg(test)]
mod writes;
