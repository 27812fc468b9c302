//! Configuration: the file as the operator wrote it, and the settings that the program uses.
