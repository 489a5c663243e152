//! The trait through which a session asks the pipeline for answers.
