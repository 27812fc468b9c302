//! Who may ask for what, and for which purpose. What is not allowed is refused.
