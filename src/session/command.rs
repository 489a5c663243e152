//! Lines to commands, over smtp-proto's grammar.
