//! The TOML as written (serde), with every default.
