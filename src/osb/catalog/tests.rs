//! Rows of "Catalog Management".
