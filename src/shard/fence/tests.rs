use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// A fence whose time is set by hand, in milliseconds.
fn fence() -> (Fence, Arc<AtomicU64>) {
    let now = Arc::new(AtomicU64::new(1000));
    let read = now.clone();
    let time = Monotonic::from_source(move || Duration::from_millis(read.load(Ordering::Relaxed)));
    (Fence::new(Layout::DEFAULT, time), now)
}

fn slot() -> Slot {
    Slot::of("shop", "myapp")
}

fn shard() -> u16 {
    Layout::DEFAULT.shard_of(slot())
}

async fn sent(fence: &Fence, right: Right) -> bool {
    fence.write(right, Request::default(), async |_| Ok(())).await.is_ok()
}

#[tokio::test]
async fn nothing_is_sent_for_a_shard_that_is_not_owned() {
    let (fence, _) = fence();
    fence.renew(Duration::from_secs(10));
    assert_eq!(fence.begin(slot()), None);
    fence.take(shard(), 7);
    assert_eq!(fence.begin(slot()), None, "nothing is known of it yet");
    fence.open(shard());
    let right = fence.begin(slot()).unwrap();
    assert_eq!(right.epoch, Some(7));
    assert!(sent(&fence, right).await);
    fence.give(shard());
    assert!(!sent(&fence, right).await);
}

#[tokio::test]
async fn nothing_is_sent_when_the_session_was_not_renewed_in_time() {
    let (fence, now) = fence();
    fence.take(shard(), 1);
    fence.open(shard());
    assert_eq!(fence.begin(slot()), None, "it was never renewed");
    fence.renew(Duration::from_secs(5));
    let right = fence.begin(slot()).unwrap();
    now.store(4950, Ordering::Relaxed);
    assert!(!sent(&fence, right).await, "the answer could come too late");
    fence.renew(Duration::from_secs(9));
    assert!(sent(&fence, right).await);
    fence.renew(Duration::from_secs(6));
    assert_eq!(
        fence.margin(),
        Duration::from_millis(4050),
        "an older answer shortens nothing"
    );
}

#[tokio::test]
async fn a_decision_that_was_begun_in_an_earlier_epoch_sends_nothing() {
    let (fence, _) = fence();
    fence.renew(Duration::from_secs(10));
    fence.take(shard(), 1);
    fence.open(shard());
    let early = fence.begin(slot()).unwrap();
    fence.take(shard(), 2);
    fence.open(shard());
    assert!(!sent(&fence, early).await);
    assert!(sent(&fence, fence.begin(slot()).unwrap()).await);
}

#[tokio::test]
async fn a_shard_that_is_given_away_waits_for_its_last_answer() {
    let (fence, _) = fence();
    fence.renew(Duration::from_secs(10));
    fence.take(shard(), 1);
    fence.open(shard());
    let right = fence.begin(slot()).unwrap();
    let under_way = fence.write(right, Request::default(), async |_| {
        fence.drain(shard());
        assert!(!fence.is_quiet(shard()));
        Ok(())
    });
    assert!(under_way.await.is_ok());
    assert!(fence.is_quiet(shard()));
    assert!(!sent(&fence, right).await);
    assert_eq!(fence.begin(slot()), None);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_not_waited_for_longer_than_the_right_lasts() {
    let (fence, _) = fence();
    fence.renew(Duration::from_secs(4));
    fence.take(shard(), 1);
    fence.open(shard());
    let start = tokio::time::Instant::now();
    let never = |_| std::future::pending::<kube::Result<()>>();
    let right = fence.begin(slot()).unwrap();
    assert!(fence.write(right, Request::default(), never).await.is_err());
    assert_eq!(start.elapsed(), Duration::from_secs(3));
}

/// A fence behind which the shard is owned until 10 s, and the permit of a write that was sent at 1 s, as its connection sees
/// it at several moments.
async fn permit(during: impl FnOnce(&Fence, &AtomicU64, &Permit)) -> Permit {
    let (fence, now) = fence();
    fence.renew(Duration::from_secs(10));
    fence.take(shard(), 1);
    fence.open(shard());
    let right = fence.begin(slot()).unwrap();
    let sent = fence.write(right, Request::default(), async |request| {
        let permit = request.extensions().get::<Permit>().unwrap().clone();
        assert!(permit.holds());
        during(&fence, &now, &permit);
        Ok(permit)
    });
    sent.await.unwrap()
}

#[tokio::test]
async fn a_permit_ends_with_the_right_and_is_not_prolonged_by_a_renewal() {
    permit(|fence, now, permit| {
        now.store(9_999, Ordering::Relaxed);
        assert!(permit.holds());
        fence.renew(Duration::from_secs(30));
        now.store(10_000, Ordering::Relaxed);
        assert!(!permit.holds(), "its answer is not waited for any longer");
    })
    .await;
}

#[tokio::test]
async fn a_permit_ends_with_the_session_and_is_not_revived_by_the_next() {
    permit(|fence, _, permit| {
        fence.clear();
        assert!(!permit.holds());
        fence.renew(Duration::from_secs(30));
        fence.take(shard(), 2);
        fence.open(shard());
        assert!(!permit.holds(), "the shard is owned under another epoch");
    })
    .await;
}

#[tokio::test]
async fn a_shard_that_is_being_given_away_lets_what_is_under_way_leave() {
    permit(|fence, _, permit| {
        fence.drain(shard());
        assert!(permit.holds());
        fence.give(shard());
        assert!(!permit.holds());
    })
    .await;
}

#[tokio::test]
async fn a_permit_ends_when_nobody_waits_for_the_answer_any_more() {
    assert!(!permit(|_, _, _| {}).await.holds());
}

#[tokio::test]
async fn without_other_replicas_there_is_no_permit_and_nothing_is_cut_off() {
    let fence = Fence::standalone();
    let right = fence.begin(slot()).unwrap();
    let sent = fence.write(right, Request::default(), async |request| {
        Ok(request.extensions().get::<Permit>().is_some())
    });
    assert!(!sent.await.unwrap());
}

#[test]
fn time_goes_on() {
    let time = Monotonic::default();
    let first = time.now();
    assert!(first > Duration::ZERO && time.now() >= first);
}
