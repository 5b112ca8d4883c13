//! From a table to `Cost`.
