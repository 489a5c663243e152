//! The gateway's own metric families that belong to no single stage.
