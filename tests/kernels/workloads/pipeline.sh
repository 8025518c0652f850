#!/bin/sh
# pipeline.sh PREFIX: counts until PREFIX.stop exists, adds up into PREFIX.log, and sorts all the numbers at the end.
i=0
while [ ! -e "$1.stop" ]; do
    i=$((i + 1))
    echo $i
    sleep 0.05
done | awk -v "log_file=$1.log" '{ sum += $1; print $1, sum > log_file; fflush(log_file); print $1 }' | sort -rn > "$1.sorted"
echo done > "$1.done"
