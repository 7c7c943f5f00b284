//! Reads Dockerfiles and image references into spans. No I/O.
