//! XDS metadata: document entries, submission sets, folders, associations (ITI TF-3: 4.2).
