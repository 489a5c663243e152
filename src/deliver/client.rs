//! The sending side of SMTP as (state, reply) to actions.
