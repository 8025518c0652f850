//! A job from now to its end.

use std::collections::HashMap;

use dormouse_wire::dbus::{Failure, JobKind, JobState, NAME};
use futures_util::StreamExt;
use zbus::fdo::PropertiesProxy;
use zbus::names::InterfaceName;
use zbus::zvariant::{OwnedObjectPath, OwnedValue};
use zbus::{Connection, fdo};

use super::{Answer, Job, Trouble};

const INTERFACE: &str = "io.github.dormouse.Dormouse1.Job";

/// Tells of a job whenever it has changed, until it has ended.
pub async fn follow(connection: &Connection, path: OwnedObjectPath, told: impl Fn(Job)) -> Answer<()> {
    let properties = PropertiesProxy::builder(connection).destination(NAME)?.path(path.clone())?.build().await?;
    // Heard from before the first look on, so that nothing is missed between.
    let mut changes = properties.receive_properties_changed().await?;
    let interface = || InterfaceName::from_static_str_unchecked(INTERFACE);
    let mut values = properties.get_all(interface()).await.map_err(plain)?;
    loop {
        let job = read(path.as_str(), &values);
        let ended = !job.runs();
        told(job);
        if ended {
            return Ok(());
        }
        let Some(change) = changes.next().await else { return Ok(()) };
        let Ok(change) = change.args() else { continue };
        if change.interface_name().as_str() != INTERFACE {
            continue;
        }
        let fresh = change.changed_properties().iter().filter_map(|(name, value)| {
            Some(((*name).to_owned(), OwnedValue::try_from(value.try_clone().ok()?).ok()?))
        });
        values.extend(fresh);
        if !change.invalidated_properties().is_empty() {
            values = properties.get_all(interface()).await.map_err(plain)?;
        }
    }
}

fn plain(error: fdo::Error) -> Trouble {
    match error {
        fdo::Error::ZBus(error) => error.into(),
        other => Trouble::silent(other.to_string()),
    }
}

fn read(path: &str, values: &HashMap<String, OwnedValue>) -> Job {
    let text = |name: &str| values.get(name).and_then(|value| <&str>::try_from(value).ok()).unwrap_or_default();
    let number = |name: &str| values.get(name).and_then(|value| u64::try_from(value).ok()).unwrap_or_default();
    let state = JobState::named(text("State")).unwrap_or(JobState::Running);
    let (bytes, total) = (number("Bytes"), number("Total"));
    let left = values.get("SecondsLeft").and_then(|value| i32::try_from(value).ok());
    let result = text("Result");
    let trouble = (state == JobState::Failed).then(|| match serde_json::from_str::<Failure>(result) {
        Ok(failure) => failure.into(),
        Err(error) => Trouble::garbled(&error),
    });
    Job {
        id: path.to_owned(),
        kind: JobKind::named(text("Kind")).unwrap_or(JobKind::Freeze),
        subject: text("Subject").to_owned(),
        state,
        phase: serde_json::from_value(text("Phase").into()).ok(),
        moved: (total > 0).then_some((bytes, total)),
        seconds_left: left.and_then(|seconds| u32::try_from(seconds).ok()),
        result: (state == JobState::Done).then(|| serde_json::from_str(result).ok()).flatten(),
        trouble,
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use dormouse_wire::Phase;
    use zbus::zvariant::Value;

    use super::*;

    fn values(pairs: &[(&str, Value<'static>)]) -> HashMap<String, OwnedValue> {
        let owned =
            |value: &Value<'static>| OwnedValue::try_from(value.clone()).unwrap_or_else(|error| panic!("{error}"));
        pairs.iter().map(|(name, value)| ((*name).to_owned(), owned(value))).collect()
    }

    #[test]
    fn a_job_at_work_tells_how_far_it_is() {
        let job = read(
            "/job/1",
            &values(&[
                ("Kind", "thaw".into()),
                ("State", "running".into()),
                ("Phase", "reading".into()),
                ("Bytes", 5_u64.into()),
                ("Total", 20_u64.into()),
                ("SecondsLeft", (-1_i32).into()),
            ]),
        );
        assert_eq!((job.kind, job.phase, job.fraction()), (JobKind::Thaw, Some(Phase::Reading), Some(0.25)));
        assert_eq!((job.runs(), job.seconds_left), (true, None));
    }

    #[test]
    fn a_job_that_failed_says_why() {
        let failure =
            r#"{"sentence":"No.","problems":[{"kind":"space","severity":"blocks","what":"the disk is full"}]}"#;
        let job = read("/job/1", &values(&[("State", "failed".into()), ("Result", failure.into())]));
        let trouble = job.trouble.unwrap_or_else(|| panic!("no trouble"));
        assert_eq!((trouble.sentence.as_str(), trouble.problems.len()), ("No.", 1));
        assert_eq!(trouble.details, "the disk is full");
        assert!(job.result.is_none());
    }
}
