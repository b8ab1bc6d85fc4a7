#!/bin/sh
# An ordinary evening on a small machine: many short processes, pipes, files written, read, sorted, compressed and compared.
set -e
mkdir -p /tmp/w
cd /tmp/w
seq 1 3000 | awk '{ print ($1 * 7919) % 3001, $1 }' > numbers
sort -n numbers > sorted
sort -rn numbers | sort -n > again
cmp sorted again
gzip -c sorted > sorted.gz
gunzip -c sorted.gz | cmp - sorted
md5sum sorted again > sums
md5sum -c sums > /dev/null
for i in 1 2 3 4 5 6 7 8 9 10; do
	mkdir -p "d$i"
	echo "$i" | cat | tr 0-9 a-j > "d$i/f"
	cp sorted "d$i/copy"
	(cd "d$i" && wc -l copy | grep -q 3000)
done
find . -type f | sort | xargs md5sum > all
find . -name copy | xargs cat | wc -c > size
tar c d1 d2 d3 | tar t > list
dd if=/dev/zero of=zeros bs=4k count=64 2> /dev/null
dd if=zeros bs=1000 2> /dev/null | wc -c | grep -q 262144
cd /
rm -r /tmp/w
echo "PASS workload"
