//! Tests of voisin against the programs and the databases of hannoy and arroy: `tests/peers/`. They
//! are a crate of their own so that nobody who tests voisin compiles these two.
