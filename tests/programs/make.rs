//! make -j2 that compiles C: frozen between and within compilers, it ends with the right program.

use harness::{Job, User};

as_each_user!(ends_with_the_right_program);

/// Sources that keep the compiler busy for a while; the program they make says a number that is known.
const SCRIPT: &str = r#"
for part in $(seq 1 6); do
    echo "long part$part(long x) {"
    for step in $(seq 1 40); do
        echo "for (int i = 0; i < $step; i++) x = (x * 31 + i + $part) % 1000003; if (x % 7 == $step % 7) x ^= $step;"
    done
    echo "return x; }"
done > parts
awk '/^long/ { file = "part" ++n ".c" } { print > file }' parts
{
    echo '#include <stdio.h>'
    for part in $(seq 1 6); do echo "long part$part(long);"; done
    echo 'int main(void) { long x = 1;'
    for part in $(seq 1 6); do echo "x = part$part(x);"; done
    echo 'printf("%ld\n", x); return 0; }'
} > main.c
cat > Makefile <<'RULES'
OBJECTS := $(patsubst %.c,%.o,$(wildcard *.c))
program: $(OBJECTS)
	@gcc -o $@ $^
%.o: %.c
	@gcc -O2 -c -o $@ $<
RULES
gcc -O0 -o expected *.c
echo ready
make -j2 && test $(ls *.o | wc -l) = 7 && test "$(./program)" = "$(./expected)" && echo "the right program"
"#;

fn ends_with_the_right_program(user: User) {
    let mut job = Job::script(&["bash"], user, ("compile.sh", SCRIPT), &[]);
    job.wait_for("ready");
    job.nap_often(3);
    assert_eq!(job.end(), "ready\nthe right program\n");
}
