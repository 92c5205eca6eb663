//! Single rows.
