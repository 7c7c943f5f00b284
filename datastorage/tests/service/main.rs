//! The service for its clients and operators: the program itself, on real PostgreSQL and Redis.
//!
//! Known failures of services of this kind, and the tests that show their absence:
//!
//! | failure | test |
//! |---|---|
//! | nothing drains the stream; only some fields survive it; notifications are acknowledged and not written | `outages::writes_during_an_outage_are_stored_completely_and_in_order_afterwards` |
//! | entries that were read once are never read again | `outages::entries_read_by_a_dead_replica_are_stored_by_another` |
//! | a stop deletes entries whose write failed | `outages::stop_during_an_outage_loses_nothing` |
//! | a full stream is trimmed silently | `outages::full_stream_rejects_and_trims_nothing` |
//! | large events fill Redis until it is killed | `spill::bytes_are_bounded_together_with_dead_letters` |
//! | a Redis at its limit cannot be drained | `spill::redis_without_memory_rejects_writes_and_can_be_drained` |
//! | a group that takes too long stops the drain for ever | `drain::group_that_takes_too_long_is_halved_and_a_slow_entry_dead_lettered` |
//! | a backlog of large events exhausts memory | `drain::memory_follows_bytes_not_entries` |
//! | writes wait one after another for stalled stores | `spill::stalled_stores_are_answered_in_time` |
//! | a client that hangs up looks like a database failure | `outages::client_that_hangs_up_changes_nothing` |
//! | a retried batch doubles its rows | `writes::retried_batch_does_not_double_its_rows` |
//! | partitions run out | `retention::partitions_are_created_at_start_and_when_a_write_needs_one` |
//! | late events look like tampering | `chain::writers_of_two_replicas_in_one_correlation_make_one_valid_chain` |
//! | the API accepts what the columns don't | `writes::database_accepts_what_the_api_accepts_at_its_limits` |
//! | honest numbers look like tampering | `numbers::any_number_is_exact_and_verifies_through_either_store` |
//! | the pool's settings are ignored | `writes::pool_has_its_configured_size` |
//!
//! `cfg(test)` marks the helpers as tests for clippy.

#[cfg(test)]
mod alerts;
#[cfg(test)]
mod attacks;
#[cfg(test)]
mod auth;
#[cfg(test)]
mod catalogue;
#[cfg(test)]
mod chain;
#[cfg(test)]
mod checkpoints;
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
mod drain;
#[cfg(test)]
mod erasure;
#[cfg(test)]
mod exports;
#[cfg(test)]
mod honest;
#[cfg(test)]
mod log;
#[cfg(test)]
mod numbers;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod queries;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod speed;
#[cfg(test)]
mod spill;
#[cfg(test)]
mod stack;
#[cfg(test)]
mod writes;
