//! Agency domains, inward routes, outbound clients: who may send to whom.
