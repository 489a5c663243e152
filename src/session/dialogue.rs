//! (state, input) to actions: the whole protocol, no socket.
