package sqlitestore

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"syscall"
)

// blocker returns the process that holds SQLite's write lock, as the kernel lists it, or 0. The
// lock is the byte 120 of the shared-memory file
// (https://sqlite.org/walformat.html#the_wal_index_file_format).
func blocker(shm string) int {
	var st syscall.Stat_t
	if err := syscall.Stat(shm, &st); err != nil {
		return 0
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0
	}
	lines := bufio.NewScanner(bytes.NewReader(locks))
	for lines.Scan() {
		// "1: POSIX  ADVISORY  WRITE 4711 08:01:1234 120 120"; those that wait have an arrow.
		var (
			kind, mode, how, file string
			nr                    string
			pid                   int
			from, to              string
		)
		if n, _ := fmt.Sscan(lines.Text(), &nr, &kind, &mode, &how, &pid, &file, &from, &to); n < 8 || how != "WRITE" || from != "120" {
			continue
		}
		var major, minor uint32
		var inode uint64
		if n, _ := fmt.Sscanf(file, "%x:%x:%d", &major, &minor, &inode); n == 3 && inode == st.Ino {
			return pid
		}
	}
	return 0
}
