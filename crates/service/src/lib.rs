//! What the edges of both services share: configuration, logs, request ids, listeners, shutdown.
