//! The signal a child gets when its parent dies, PR_SET_PDEATHSIG: it is kept, and it comes.

use crate::kernel::{self, Ended, into, prctl};
use crate::stage::{Held, Stage};

fn wanted() -> i32 {
    let mut signal = -1;
    let _ = prctl(libc::PR_GET_PDEATHSIG, &[into(&mut signal)]);
    signal
}

pub fn hold(stage: &mut Stage) -> Held {
    prctl(libc::PR_SET_CHILD_SUBREAPER, &[1])?;
    let middle = stage.child(|stage| {
        let inner = stage.child(|stage| {
            prctl(libc::PR_SET_PDEATHSIG, &[libc::SIGUSR1 as usize])?;
            stage.keeps(|wrong| wrong.equal("the signal", wanted(), libc::SIGUSR1))?;
            std::fs::write(stage.path("inner looked"), if wanted() == libc::SIGUSR1 { "ok" } else { "lost" })?;
            stage.wrong.holds("the signal comes", !kernel::until(|| false));
            Ok(())
        })?;
        std::fs::write(stage.path("inner pid"), inner.pid.to_string())?;
        stage.ready_and_wait()?;
        let looked = stage.path("inner looked");
        stage.wrong.holds(
            "the inner process looks",
            kernel::until(|| std::fs::read(&looked).is_ok_and(|found| !found.is_empty())),
        );
        stage.wrong.gives("what it finds", std::fs::read_to_string(looked), "ok".to_owned());
        Ok(())
    })?;
    stage.ready_and_wait()?;
    stage.join(middle);
    let inner: i32 = std::fs::read_to_string(stage.path("inner pid"))?.parse()?;
    stage.wrong.gives("how the orphan ends", kernel::wait_for(inner), Ended::Signal(libc::SIGUSR1));
    Ok(())
}
