//! fio with requests of asynchronous I/O under way all the time (io_submit), writing and then reading what it has written:
//! it compares each block.

use harness::{Job, User};

as_each_user!(finds_every_block);

const SCRIPT: &str = r#"
fio --name=dream --filename=data --size=16m --bs=16k --rw=randwrite --ioengine=libaio --direct=1 --iodepth=16 \
    --rate_iops=150 --verify=crc32c --do_verify=1 --verify_fatal=1 --thread --clocksource=clock_gettime --output=said &
fio=$!
# The file is laid out in full when the first block is written.
until test "$(stat -c %s data 2>/dev/null)" = 16777216; do sleep 0.02; done
sleep 0.5
echo ready
wait $fio
echo "it ends with $?"
grep -o 'err= *[0-9]*' said | tr -d ' '
grep -o 'rwts: total=[0-9]*,[0-9]*' said
"#;

fn finds_every_block(user: User) {
    let mut job = Job::script(&["bash"], user, ("fio.sh", SCRIPT), &[]);
    job.wait_for("ready");
    job.nap_often(4);
    assert_eq!(job.end(), "ready\nit ends with 0\nerr=0\nrwts: total=1024,1024\n");
}
