//! Points in time: a date as read is a date again, its interval has its beginning before its end.
#![no_main]

use causeway::id::{Dtm, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    if let Some(at) = Timestamp::from_rfc3339(&text) {
        assert_eq!(Timestamp::from_rfc3339(&at.to_rfc3339()), Some(at), "written twice");
        at.to_dtm();
    }
    let Ok(dtm) = Dtm::lenient(&text) else { return };
    assert_eq!(dtm.as_str().parse::<Dtm>().as_ref(), Ok(&dtm), "read twice");
    assert!(dtm.earliest() <= dtm.latest(), "the beginning is before the end");
    dtm.iso_date();
    dtm.ymd();
    dtm.date();
});
