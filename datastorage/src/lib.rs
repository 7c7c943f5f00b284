//! The DataStorage service.
