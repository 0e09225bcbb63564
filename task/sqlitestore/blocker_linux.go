package sqlitestore

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"os"
	"strconv"
	"syscall"
)

// writeLock is the byte of the file -shm that a writer locks
// (https://sqlite.org/walformat.html#the_wal_index_file_format).
const writeLock = 120

// blockerOf returns the process that holds SQLite's write lock, or a read lock on the same byte,
// from the kernel's list of locks. Its number is not positive if the kernel does not know one.
func blockerOf(shm string) (b blocker, found bool) {
	var st syscall.Stat_t
	if err := syscall.Stat(shm, &st); err != nil {
		return blocker{}, false
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return blocker{}, false
	}
	lines := bufio.NewScanner(bytes.NewReader(locks))
	for lines.Scan() {
		// "1: POSIX  ADVISORY  WRITE 4711 08:01:1234 120 120"; a lock that waits has an arrow. OFDLCK is
		// a lock of an open file, which conflicts with SQLite's locks too. A FLOCK does not.
		var nr, kind, mode, how, file, from, to string
		if n, _ := fmt.Sscan(lines.Text(), &nr, &kind, &mode, &how, &b.pid, &file, &from, &to); n < 8 ||
			kind != "POSIX" && kind != "OFDLCK" || how != "WRITE" && how != "READ" || !covers(from, to, writeLock) {
			continue
		}
		var major, minor uint32
		var inode uint64
		if n, _ := fmt.Sscanf(file, "%x:%x:%d", &major, &minor, &inode); n == 3 && inode == st.Ino {
			b.reads = how == "READ"
			return b, true
		}
	}
	return blocker{}, false
}

// covers reports whether a lock from one byte to another includes a third one.
func covers(from, to string, at uint64) bool {
	first, err := strconv.ParseUint(from, 10, 64)
	if err != nil {
		return false
	}
	last := uint64(math.MaxUint64)
	if to != "EOF" {
		if last, err = strconv.ParseUint(to, 10, 64); err != nil {
			return false
		}
	}
	return first <= at && at <= last
}
