//go:build linux

package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// leftOvers says what this process still has that it should have let go of at its end: goroutines
// of the library and of the databases' drivers, connections and files. What ends by itself has a
// moment to do so. It is empty if there is nothing. before is what openFiles returned at the begin.
func leftOvers(before map[string]bool) string {
	var left string
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if left = strings.Join(append(leftGoroutines(), leftFiles(before)...), "\n\n"); left == "" {
			return ""
		}
	}
	return left
}

// leftGoroutines returns the stacks of goroutines but this one, and the one that reads what the
// harness sends.
func leftGoroutines() (left []string) {
	buf := make([]byte, 4<<20)
	for _, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")[1:] {
		if strings.Contains(stack, "chaos/wire") {
			continue
		}
		for _, who := range []string{"lastcall-go/lastcall", "database/sql", "jackc/", "modernc.org/"} {
			if strings.Contains(stack, who) {
				left = append(left, stack)
				break
			}
		}
	}
	return left
}

// openFiles returns what this process has open: the targets of its descriptors.
func openFiles() map[string]bool {
	const dir = "/proc/self/fd"
	open := make(map[string]bool)
	entries, _ := os.ReadDir(dir) // without a /proc there is nothing to look at
	for _, e := range entries {
		// The descriptor that has read the directory is closed by now.
		if target, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			open[target] = true
		}
	}
	return open
}

// leftFiles returns what is open that was not before, but for what the runtime itself has.
func leftFiles(before map[string]bool) (left []string) {
	for target := range openFiles() {
		if !before[target] && target != "anon_inode:[eventpoll]" && target != "anon_inode:[eventfd]" {
			left = append(left, "open: "+target)
		}
	}
	return left
}
