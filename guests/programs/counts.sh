#!/bin/busybox sh
# What a kernel that has the library in it has counted: COUNT name number.
[ ! -f /proc/congruent ] || sed 's/^/COUNT /' /proc/congruent
