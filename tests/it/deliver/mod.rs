//! Delivery against scripted servers: cut-through at every state, the queue, reports, TLS policies.

mod cut_through;
mod dnssec;
mod house;
mod internet;
mod link;
mod postfix;
mod queue;
