//! Moves bytes between a socket and the dialogue.
