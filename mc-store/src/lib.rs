//! Placeholder while the base is laid.
