//! `dormouse doctor`: whether this machine has what freezing and thawing take.

use std::process::ExitCode;

use dormouse_engine::survey::doctor;
use dormouse_wire::doctor::{Ability, Examined, State, Weight};

use crate::exit::Outcome;
use crate::output;

/// Tells whether this machine has what freezing and thawing take, and what can be done where it has not.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Each thing is tried, with the rights that this very command has: what an ordinary user lacks, root may have. Nothing is changed by it; a \
process that it makes for that is gone when it ends.

Exit status:
  0  Groups can be frozen and thawed here, by whoever has called the command. Something that only some programs need may be missing.
  1  They cannot.

With --json: `kernel`, `machine`, and `abilities`, each with its `name`, its `state` (`works`, `missing`, or `untried` where something else \
that is missing keeps it from being tried), its `weight` (`needed` or `wanted`), what it `gives`, where it comes `from`, what is so \
`without` it, and where it is missing the kernel's `answer` and the `way_out`.")]
pub struct Arguments {
    /// Write the answer as one JSON value.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> Outcome {
    let examined = doctor::examine();
    if arguments.json {
        output::json(&examined)?;
    } else {
        output::print(&report(&examined, output::width()))?;
    }
    Ok(if examined.can_freeze() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report(examined: &Examined, width: usize) -> String {
    let mut text = format!("Linux {}, {}\n", examined.kernel, examined.machine);
    for (weight, heading) in [
        (Weight::Needed, "What every freeze and thaw needs"),
        (Weight::Wanted, "What some programs need, or what makes it quicker"),
    ] {
        text.extend(["\n", heading, "\n"]);
        for ability in examined.abilities.iter().filter(|ability| ability.weight == weight) {
            text += &told(ability, width);
        }
    }
    let missing = examined.abilities.iter().filter(|ability| ability.state != State::Works).count();
    let comes_to = match (examined.can_freeze(), missing) {
        (true, 0) => "Everything is there.".to_owned(),
        (true, _) => {
            let things =
                output::count(missing, "thing that some programs need is", "things that some programs need are");
            format!("Groups can be frozen and thawed; {things} missing.")
        }
        (false, _) => "Groups cannot be frozen and thawed like this: see what is missing above.".to_owned(),
    };
    text + "\n" + &output::wrapped(&comes_to, width)
}

fn told(ability: &Ability, width: usize) -> String {
    let mark = match ability.state {
        State::Works => "  yes  ",
        State::Missing => "  NO   ",
        State::Untried => "  ?    ",
    };
    let mut text = output::marked(mark, &ability.gives, width);
    if ability.state != State::Works {
        let answer = ability.answer.as_ref().map(|answer| format!(" ({answer})")).unwrap_or_default();
        let lines = [
            Some(format!("It comes with {}{answer}.", ability.from)),
            Some(format!("Without it: {}.", ability.without)),
            ability.way_out.as_ref().map(|way_out| format!("{way_out}.")),
        ];
        for line in lines.into_iter().flatten() {
            text += &output::indented(&line, width, 7);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ability(weight: Weight, state: State) -> Ability {
        Ability {
            name: "tracing".to_owned(),
            state,
            weight,
            gives: "processes held still".to_owned(),
            from: "ptrace".to_owned(),
            without: "nothing can be frozen".to_owned(),
            answer: None,
            way_out: (state == State::Missing).then(|| "Run Dormouse as root".to_owned()),
        }
    }

    fn examined(abilities: Vec<Ability>) -> Examined {
        Examined { kernel: "6.1.0".to_owned(), machine: "x86_64".to_owned(), abilities }
    }

    #[test]
    fn what_is_there_takes_a_line_and_what_is_missing_is_explained() {
        let all = examined(vec![ability(Weight::Needed, State::Works), ability(Weight::Wanted, State::Missing)]);
        let told = report(&all, 80);
        assert!(told.contains("  yes  processes held still\n"), "{told}");
        assert!(told.contains("  NO   processes held still\n       It comes with ptrace.\n"), "{told}");
        assert!(told.contains("       Without it: nothing can be frozen.\n       Run Dormouse as root.\n"), "{told}");
        assert!(
            told.ends_with("\nGroups can be frozen and thawed; 1 thing that some programs need is missing.\n"),
            "{told}"
        );
    }

    #[test]
    fn what_is_needed_and_missing_is_what_it_comes_to() {
        let none = examined(vec![ability(Weight::Needed, State::Untried)]);
        assert!(report(&none, 80).contains("cannot be frozen and thawed"));
        assert!(report(&examined(vec![ability(Weight::Needed, State::Works)]), 80).ends_with("Everything is there.\n"));
    }
}
