//! Images that end before their content does, or that can be known not to do before a card is wiped.
