//! Authentication of whole messages against local zones.


