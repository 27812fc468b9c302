//! Lanes, attempts, copies, and what is left behind.

use std::time::Duration;

use super::*;
use crate::storage::engine::Settings;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

struct Queue {
    deliveries: Deliveries,
    tenant: Tenant,
    _folder: tempfile::TempDir,
}

impl Queue {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(folder.path(), &Settings::default()).unwrap();
        Self { deliveries: Deliveries::new(engine, Sealer::plain()), tenant: Tenant::default(), _folder: folder }
    }

    async fn add(&self, to: &str, lanes: &[&str]) -> u64 {
        self.deliveries.add(&self.tenant, draft(to, lanes), NOW).await.unwrap()
    }

    fn ready(&self, now: Timestamp) -> Vec<u64> {
        self.deliveries.ready(&self.tenant, now, 100, |_| 100).unwrap()
    }

    async fn settle(&self, number: u64, state: State, later: u64) -> Vec<String> {
        let due = NOW.plus(Duration::from_secs(later));
        let attempt = Attempt { state, due, counts: true, reason: Some("so".into()), reported: Vec::new() };
        self.deliveries.settle(&self.tenant, number, attempt, NOW).await.unwrap()
    }

    fn get(&self, number: u64) -> Delivery {
        self.deliveries.get(&self.tenant, number).unwrap().unwrap()
    }

    fn left(&self) -> Vec<&'static str> {
        let sizes = self.deliveries.sizes().unwrap();
        sizes.into_iter().filter(|(_, rows)| *rows > 0).map(|(name, _)| name).collect()
    }
}

fn draft(to: &str, lanes: &[&str]) -> Draft {
    Draft {
        kind: Kind::Documents,
        to: to.into(),
        trace: TraceId::new(),
        lanes: lanes.iter().map(|lane| lane.as_bytes().to_vec()).collect(),
        contents: vec!["ab".repeat(32)],
        body: b"body".to_vec(),
    }
}

#[tokio::test]
async fn deliveries_of_one_lane_go_one_after_the_other_and_others_pass_them_by() {
    let queue = Queue::open();
    let first = queue.add("a", &["p"]).await;
    let second = queue.add("a", &["p"]).await;
    let other = queue.add("a", &["q"]).await;
    let elsewhere = queue.add("b", &["p"]).await;
    assert_eq!(queue.ready(NOW), [first, other, elsewhere]);
    // One that is tried again later holds up its lane, and no other.
    queue.settle(first, State::Waiting, 60).await;
    assert_eq!(queue.ready(NOW), [other, elsewhere]);
    let later = NOW.plus(Duration::from_secs(60));
    assert_eq!(queue.ready(later), [other, first, elsewhere]);
    queue.settle(first, State::Refused, 0).await;
    assert_eq!(queue.ready(NOW), [second, other, elsewhere]);
    assert_eq!((queue.get(first).state, queue.get(first).attempts), (State::Refused, 2));
}

#[tokio::test]
async fn a_delivery_of_two_lanes_waits_for_both_and_holds_up_both() {
    let queue = Queue::open();
    let p = queue.add("a", &["p"]).await;
    let q = queue.add("a", &["q"]).await;
    let both = queue.add("a", &["p", "q"]).await;
    let after_q = queue.add("a", &["q"]).await;
    assert_eq!(queue.ready(NOW), [p, q]);
    queue.settle(p, State::Delivered, 0).await;
    assert_eq!(queue.ready(NOW), [q]);
    queue.settle(q, State::GivenUp, 0).await;
    assert_eq!(queue.ready(NOW), [both]);
    queue.settle(both, State::Delivered, 0).await;
    assert_eq!(queue.ready(NOW), [after_q]);
}

#[tokio::test]
async fn places_are_granted_by_destination_and_what_is_in_hand_is_not_given_out() {
    let queue = Queue::open();
    let mut numbers = Vec::new();
    for lane in ["1", "2", "3"] {
        numbers.push(queue.add("slow", &[lane]).await);
    }
    let fast = queue.add("zfast", &["1"]).await;
    let ready = |places: usize| {
        let granted = move |to: &str| if to == "slow" { places } else { 9 };
        queue.deliveries.ready(&queue.tenant, NOW, 100, granted).unwrap()
    };
    assert_eq!(ready(0), [fast]);
    assert_eq!(ready(2), [numbers[0], numbers[1], fast]);
    let claim = queue.deliveries.claim(numbers[0]).unwrap();
    assert!(queue.deliveries.claim(numbers[0]).is_none(), "one hand at a time");
    assert_eq!(ready(2), [numbers[1], numbers[2], fast]);
    drop(claim);
    assert_eq!(ready(1), [numbers[0], fast]);
}

#[tokio::test]
async fn what_was_delivered_is_not_kept_and_what_was_not_can_be_taken_up_again() {
    let queue = Queue::open();
    let content = "ab".repeat(32);
    let holds = || holds_content(&queue.deliveries.engine.read().unwrap(), &queue.tenant, &content).unwrap();
    let refused = queue.add("a", &["p"]).await;
    let delivered = queue.add("a", &["q"]).await;
    assert_eq!(queue.settle(delivered, State::Delivered, 0).await, std::slice::from_ref(&content));
    assert_eq!(queue.deliveries.body(&queue.tenant, delivered).unwrap(), None);
    assert!(holds(), "the other one needs it");
    assert!(queue.settle(refused, State::Refused, 0).await.is_empty());
    let again = |number| queue.deliveries.again(&queue.tenant, number, None, None, NOW);
    assert_eq!(again(delivered).await.unwrap(), Err(NotAgain::Delivered));
    assert_eq!(again(99).await.unwrap(), Err(NotAgain::Unknown));
    let new = again(refused).await.unwrap().unwrap();
    assert_eq!(again(refused).await.unwrap(), Err(NotAgain::Already(new)));
    assert_eq!(again(new).await.unwrap(), Err(NotAgain::Waiting));
    // The same name, so that the receiver can tell that it is the same.
    assert_eq!((queue.get(new).id, queue.get(refused).again_as), (queue.get(refused).id, Some(new)));
    assert_eq!(queue.ready(NOW), [new]);
    assert_eq!(queue.deliveries.body(&queue.tenant, new).unwrap().as_deref(), Some(&b"body"[..]));
    let behind = queue.add("a", &["p"]).await;
    assert_eq!(queue.ready(NOW), [new], "it is in its lane again");
    queue.settle(new, State::Delivered, 0).await;
    assert_eq!(queue.ready(NOW), [behind]);
    queue.settle(behind, State::Delivered, 0).await;
    assert!(!holds());
    // What ended is kept for a while, and then nothing of it.
    let before = queue.deliveries.forget(&queue.tenant, NOW, 10).await.unwrap();
    assert_eq!(before, (0, Vec::new()));
    let (forgotten, _) = queue.deliveries.forget(&queue.tenant, NOW.plus(Duration::from_secs(1)), 10).await.unwrap();
    assert_eq!((forgotten, queue.left()), (4, vec![]));
}

#[tokio::test]
async fn a_submission_is_taken_once_unless_nobody_got_it() {
    let queue = Queue::open();
    let receive = |fingerprint: &'static str| {
        queue.deliveries.receive(&queue.tenant, "1.2.3", fingerprint.into(), vec![draft("a", &["p"])], NOW)
    };
    let Received::New(first) = receive("x").await.unwrap() else { panic!("it is new") };
    assert_eq!(receive("x").await.unwrap(), Received::Before(first.clone()));
    assert_eq!(receive("y").await.unwrap(), Received::Different);
    queue.settle(first[0], State::Refused, 0).await;
    let Received::New(second) = receive("y").await.unwrap() else { panic!("the first one went nowhere") };
    queue.settle(second[0], State::GivenUp, 0).await;
    let third = queue.deliveries.again(&queue.tenant, second[0], None, None, NOW).await.unwrap().unwrap();
    assert_eq!(receive("y").await.unwrap(), Received::Before(vec![third]));
    queue.settle(third, State::Delivered, 0).await;
    assert_eq!(receive("y").await.unwrap(), Received::Before(vec![third]));
    assert_eq!(receive("x").await.unwrap(), Received::Different);
    queue.deliveries.forget(&queue.tenant, NOW.plus(Duration::from_secs(1)), 10).await.unwrap();
    assert!(queue.left().is_empty(), "{:?}", queue.left());
}

/// A list shows no patient: neither `Debug` of an account nor of a draft has what it brings.
#[tokio::test]
async fn the_latest_are_listed_by_state_and_destination() {
    let queue = Queue::open();
    let a = queue.add("recipient/a", &[]).await;
    let b = queue.add("recipient/b", &[]).await;
    queue.settle(a, State::Delivered, 0).await;
    let numbers = |state, to: &str, limit| {
        let found = queue.deliveries.latest(&queue.tenant, state, to, limit).unwrap();
        found.iter().map(|one| one.number).collect::<Vec<_>>()
    };
    assert_eq!(numbers(None, "", 9), [b, a]);
    assert_eq!(numbers(None, "", 1), [b]);
    assert_eq!(numbers(Some(State::Delivered), "", 9), [a]);
    assert_eq!(numbers(None, "recipient/b", 9), [b]);
    assert_eq!(format!("{:?}", draft("a", &[])), "Draft(Documents to a, 4 bytes)");
}
