//! What happens while the canaries run.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    plan::Disturbance,
    prometheus::{Behaviour, FakePrometheus},
    replicas::{Replica, Starter},
};

/// A time and what happened then.
pub(crate) type Mark = (Timestamp, String);

fn mark(text: String) -> Mark {
    eprintln!("loadtest: {text}");
    (Timestamp::now(), text)
}

/// Carries out a disturbance that begins relative to `begin`. Returns the replicas that run afterwards.
pub(crate) async fn carry_out(
    disturbance: Disturbance,
    begin: Instant,
    starter: Starter,
    mut replicas: Vec<Replica>,
    prometheus: Arc<FakePrometheus>,
) -> anyhow::Result<(Vec<Replica>, Vec<Mark>)> {
    let mut marks = Vec::new();
    match disturbance {
        Disturbance::None => {}
        Disturbance::Kill { after, restart } => {
            sleep_until(begin + after).await;
            // Its CPU time cannot be read afterwards.
            starter.recorder.sample();
            if !replicas.is_empty() {
                replicas.remove(0).kill().await?;
                marks.push(mark("kanary-1 was killed".to_owned()));
            }
            if restart {
                replicas.insert(0, starter.start("kanary-1", "a").await?);
                marks.push(mark("kanary-1 is ready again".to_owned()));
            }
        }
        Disturbance::Roll { after } => {
            sleep_until(begin + after).await;
            let old = std::mem::take(&mut replicas);
            for (number, replica) in (1..).zip(old) {
                replicas.push(starter.start(&format!("kanary-b-{number}"), "b").await?);
                starter.recorder.sample();
                replica.terminate().await?;
                marks.push(mark(format!("kanary-{number} was replaced by kanary-b-{number}")));
            }
        }
        Disturbance::Brownout {
            after,
            lasts,
            latency,
            error_percent,
        } => {
            sleep_until(begin + after).await;
            prometheus.behave(Behaviour { latency, error_percent });
            marks.push(mark(format!(
                "Prometheus answers after {latency:?}, {error_percent} % with errors"
            )));
            sleep(lasts).await;
            prometheus.behave(Behaviour::default());
            marks.push(mark("Prometheus answers as before".to_owned()));
        }
    }
    Ok((replicas, marks))
}
