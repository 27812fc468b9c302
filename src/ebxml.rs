//! ebXML registry 3.0: registry objects, queries, responses.
