//! A private PostgreSQL, Redis and Kubernetes API for one test or one run.
