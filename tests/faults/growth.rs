//! Searches while the map grows.
