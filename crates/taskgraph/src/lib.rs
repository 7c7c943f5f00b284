//! Runs a graph of tasks in parallel: edges, resources, cancellation, trace.
