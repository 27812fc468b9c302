//! HL7 v3: data types, transmission wrappers, persons, acknowledgements.
