//! Rules as data: files, conditions, one matcher per text surface, and arithmetic over what hit.
