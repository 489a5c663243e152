//! Delivery against scripted servers: cut-through at every state, the queue, reports, TLS policies.

mod bad_line;
mod callout;
mod cut_through;
mod dnssec;
mod faults;
mod house;
mod internet;
mod link;
mod live;
mod postfix;
mod profiles;
mod queue;
mod reports;
mod simulators;
mod storm;
