//! What the gateway cannot do yet: vector, demand, reason. The list may only shrink.

pub const NOT_YET: &[(&str, &str, &str)] = &[];
