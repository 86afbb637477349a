//! What was on a card before, and what lies where no partition says it does.
