#!/bin/sh
# Prints the kernel's symbols between two markers, compressed: the console is slow.
echo KALLSYMS-BEGIN
gzip -c /proc/kallsyms | base64
echo KALLSYMS-END
echo "PASS kallsyms"
