//! The schema-driven resolver.
