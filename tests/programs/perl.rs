//! perl: forks, pipes, handlers that are local to a block, and an alarm.

use harness::{Job, User};

as_each_user!(carries_on);

/// Children count into pipes, the parent adds up what they send; an alarm ends its waiting, and handlers count signals.
const SCRIPT: &str = r#"
use strict; use warnings;
$| = 1;
my ($alarms, $users) = (0, 0);
$SIG{ALRM} = sub { $alarms++ };
my @from;
for my $child (1 .. 3) {
    pipe(my $out, my $in) or die "pipe: $!";
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        close $out;
        $in->autoflush(1);
        for my $number (1 .. 200) { print $in "$child $number\n"; select(undef, undef, undef, 0.003) }
        exit $child;
    }
    close $in;
    push @from, [$pid, $out, $child];
}
print "ready\n";
my $sum = 0;
{
    local $SIG{USR1} = sub { $users++ };
    for my $from (@from) {
        my ($pid, $out, $child) = @$from;
        my $expected = 1;
        while (my $line = <$out>) {
            my ($who, $number) = split ' ', $line;
            die "child $who said $number, not $expected" if $who != $child || $number != $expected++;
            $sum += $number;
            kill 'USR1', $$ if $number % 20 == 0;
        }
        close $out;
        waitpid($pid, 0) == $pid or die "waitpid: $!";
        die "child $child ended with $?" if $? >> 8 != $child;
    }
}
alarm 1;
my $left = select(undef, undef, undef, 30);
select(undef, undef, undef, 0.02) until -e 'go';
print "sum $sum, $users signals, $alarms alarm\n";
"#;

fn carries_on(user: User) {
    let mut job = Job::script(&["perl"], user, ("counting.pl", SCRIPT), &[]);
    job.wait_for("ready");
    job.nap_often(3);
    job.make("go");
    assert_eq!(job.end(), "ready\nsum 60300, 30 signals, 1 alarm\n");
}
