//! The Gateway service.
