//! The transactions of IHE IT Infrastructure by number.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Not the number of a transaction that this program takes part in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a transaction this gateway knows (write it as ITI-38)")]
pub struct UnknownTransaction;

/// Each transaction once: its variant, what it is called in IHE's numbering and in words.
macro_rules! transactions {
    ($($variant:ident, $code:literal, $name:literal;)*) => {
        /// A transaction of the IT Infrastructure framework.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "&'static str")]
        pub enum Transaction {
            $(#[doc = concat!($code, " ", $name, ".")] $variant,)*
        }

        impl Transaction {
            /// Every transaction, by rising number.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The number as IHE writes it, such as `ITI-38`; also the audit message's `EventTypeCode`.
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The name, such as `Cross Gateway Query`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

transactions! {
    Iti8, "ITI-8", "Patient Identity Feed";
    Iti9, "ITI-9", "PIX Query";
    Iti10, "ITI-10", "PIX Update Notification";
    Iti18, "ITI-18", "Registry Stored Query";
    Iti20, "ITI-20", "Record Audit Event";
    Iti21, "ITI-21", "Patient Demographics Query";
    Iti22, "ITI-22", "Patient Demographics and Visit Query";
    Iti30, "ITI-30", "Patient Identity Management";
    Iti38, "ITI-38", "Cross Gateway Query";
    Iti39, "ITI-39", "Cross Gateway Retrieve";
    Iti41, "ITI-41", "Provide and Register Document Set-b";
    Iti42, "ITI-42", "Register Document Set-b";
    Iti43, "ITI-43", "Retrieve Document Set";
    Iti44, "ITI-44", "Patient Identity Feed";
    Iti45, "ITI-45", "PIX Query";
    Iti46, "ITI-46", "PIX Update Notification";
    Iti47, "ITI-47", "Patient Demographics Query";
    Iti51, "ITI-51", "Multi-Patient Stored Query";
    Iti55, "ITI-55", "Cross Gateway Patient Discovery";
    Iti56, "ITI-56", "Patient Location Query";
    Iti57, "ITI-57", "Update Document Set";
    Iti61, "ITI-61", "Register On-Demand Document Entry";
    Iti62, "ITI-62", "Remove Metadata";
    Iti63, "ITI-63", "XCF Fetch";
    Iti64, "ITI-64", "Notify XAD-PID Link Change";
    Iti65, "ITI-65", "Provide Document Bundle";
    Iti66, "ITI-66", "Find Document Lists";
    Iti67, "ITI-67", "Find Document References";
    Iti68, "ITI-68", "Retrieve Document";
    Iti78, "ITI-78", "Mobile Patient Demographics Query";
    Iti80, "ITI-80", "Cross-Gateway Document Provide";
    Iti81, "ITI-81", "Retrieve ATNA Audit Event";
    Iti83, "ITI-83", "Mobile Patient Identifier Cross-reference Query";
    Iti86, "ITI-86", "Remove Documents";
    Iti92, "ITI-92", "Restricted Update Document Set";
    Iti104, "ITI-104", "Patient Identity Feed FHIR";
    Iti105, "ITI-105", "Simplified Publish";
    Iti107, "ITI-107", "Cross Gateway Revoke Correlation";
    Iti119, "ITI-119", "Patient Demographics Match";
}

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Transaction {
    type Err = UnknownTransaction;

    /// Reads `ITI-38`, in capitals or not: operators write `iti-38` as a key.
    fn from_str(text: &str) -> Result<Self, UnknownTransaction> {
        Self::ALL.iter().find(|one| one.code().eq_ignore_ascii_case(text.trim())).copied().ok_or(UnknownTransaction)
    }
}

impl TryFrom<String> for Transaction {
    type Error = UnknownTransaction;

    fn try_from(text: String) -> Result<Self, UnknownTransaction> {
        text.parse()
    }
}

impl From<Transaction> for &'static str {
    fn from(transaction: Transaction) -> Self {
        transaction.code()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_have_their_number_and_their_name() {
        for (transaction, code, name) in [
            (Transaction::Iti38, "ITI-38", "Cross Gateway Query"),
            (Transaction::Iti55, "ITI-55", "Cross Gateway Patient Discovery"),
            (Transaction::Iti8, "ITI-8", "Patient Identity Feed"),
            (Transaction::Iti119, "ITI-119", "Patient Demographics Match"),
        ] {
            assert_eq!((transaction.code(), transaction.name()), (code, name));
            assert_eq!(transaction.to_string(), code);
        }
    }

    #[test]
    fn every_number_reads_back_in_capitals_or_not() {
        for transaction in Transaction::ALL {
            assert_eq!(transaction.code().parse(), Ok(*transaction));
            assert_eq!(transaction.code().to_lowercase().parse(), Ok(*transaction));
        }
        for text in ["", "38", "ITI-999", "ITI38"] {
            assert_eq!(text.parse::<Transaction>(), Err(UnknownTransaction), "{text:?}");
        }
    }

    #[test]
    fn transactions_are_listed_by_rising_number_and_once() {
        let numbers: Vec<u16> = Transaction::ALL.iter().map(|one| one.code()[4..].parse().unwrap()).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
        assert_eq!(numbers.len(), 39);
    }
}
