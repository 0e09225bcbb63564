//go:build linux

package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// leftOvers describes what this process still has although it should have released it: goroutines
// of the library and of the databases' drivers, connections and files. It gives those that end by
// themselves a moment. It returns "" if there is nothing. before is what openFiles returned at the
// start.
func leftOvers(before map[string]bool) string {
	var left string
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if left = strings.Join(append(leftGoroutines(), leftFiles(before)...), "\n\n"); left == "" {
			return ""
		}
	}
	return left
}

// leftGoroutines returns the stacks of all goroutines except this one and the one that reads from
// the harness.
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

// openFiles returns the targets of this process's open descriptors.
func openFiles() map[string]bool {
	const dir = "/proc/self/fd"
	open := make(map[string]bool)
	entries, _ := os.ReadDir(dir) // without /proc there is nothing to list
	for _, e := range entries {
		// The descriptor that has read the directory is closed by now.
		if target, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			open[target] = true
		}
	}
	return open
}

// leftFiles returns what is open and was not before, except what the runtime itself has opened.
func leftFiles(before map[string]bool) (left []string) {
	for target := range openFiles() {
		if !before[target] && target != "anon_inode:[eventpoll]" && target != "anon_inode:[eventfd]" {
			left = append(left, "open: "+target)
		}
	}
	return left
}
