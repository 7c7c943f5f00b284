//! The service as its callers and operators see it: the program itself, on real PostgreSQL and Redis.
//!
//! Failures that a service of this kind is known for, and the tests that show that this one has none of them:
//!
//! | failure | test |
//! |---|---|
//! | nothing drains the stream; only some fields survive it; notifications are acknowledged and not written | `outages::what_comes_while_postgresql_is_away_is_stored_whole_and_in_order_when_it_is_back` |
//! | entries that were read once are never read again | `outages::entries_that_a_dead_replica_had_read_are_stored_by_another` |
//! | a stop deletes entries whose write failed | `outages::a_stop_while_postgresql_is_away_loses_nothing` |
//! | a full stream is trimmed silently | `outages::a_full_stream_refuses_and_trims_nothing` |
//! | a client that hangs up turns into a failure of the database | `outages::a_client_that_hangs_up_changes_nothing_and_is_no_failure_of_the_database` |
//! | a retried batch doubles its rows | `writes::a_retried_batch_does_not_double_its_rows` |
//! | partitions run out | `retention::partitions_are_made_at_start_and_when_a_write_needs_one_that_is_not_there` |
//! | late events pass for tampering | `chain::writers_of_two_replicas_in_one_correlation_make_one_valid_chain` |
//! | the API takes what the columns don't | `writes::what_the_api_takes_at_its_limits_the_database_takes_too` |
//! | the pool's settings are ignored | `writes::the_pool_is_as_large_as_it_is_told_to_be` |
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
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod dead_letters;
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
