//go:build linux

package test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestExec_TheShellExampleGoesOnAfterAStopAndAfterAKill(t *testing.T) {
	t.Parallel()
	sums(t, "sums-sh")
}

func TestExec_ThePythonExampleGoesOnAfterAStopAndAfterAKill(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is missing: make setup installs it")
	}
	sums(t, "sums-py")
}

// sums runs an example, interrupts it, kills its server, and compares the final output.
func sums(t *testing.T, kind string) {
	t.Helper()
	work := t.TempDir()
	dir, out := filepath.Join(work, "files"), filepath.Join(work, "out")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	manyFiles(t, dir)
	store := "sqlite:" + filepath.Join(work, "tasks.db")
	config := []string{"--config", "../examples/exec/lastcall.yaml"}
	payload := fmt.Sprintf(`{"dir": %q, "out": %q}`, dir, out)

	s := start(t, store, config...)
	id := submitTo(s, kind, payload)
	// written waits until the task has written more lines, and returns how many it has.
	written := func(s *server, more int) (lines int) {
		from := -1
		s.until("getting on", func() bool {
			b, err := os.ReadFile(out + "." + id)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			if lines = bytes.Count(b, []byte("\n")); from < 0 {
				from = lines
			}
			return lines >= from+more
		})
		return lines
	}
	written(s, 10)
	s.signal(syscall.SIGTERM)
	s.waitLog(`phase="last call"`)
	s.signal(syscall.SIGTERM)
	s.exits(0)
	if r := show(t, store, id); r.Status != "interrupted" || r.Reason != "stop" || r.Attempts != 0 || r.Progress.Fraction == 0 {
		t.Errorf("after the stop: %+v", r)
	}

	s = start(t, store, config...)
	if lines := written(s, 10); lines < 20 {
		t.Errorf("%d lines: the second run began again from the start", lines)
	}
	s.signal(syscall.SIGKILL)
	s.exit()

	s = start(t, store, config...)
	r := s.reaches(id, "succeeded", "failed")
	if r.Status != "succeeded" || r.Interruptions != 1 || r.Crashes > 1 || r.Attempts != 0 {
		t.Errorf("in the end: %+v", r)
	}
	bad := submitTo(s, kind, `{"dir": "/no/such/directory", "out": "x"}`)
	if r := s.reaches(bad, "failed", "succeeded"); r.Runs != 1 || !strings.Contains(r.Error, "exit code 65") {
		t.Errorf("a payload that does not fit: %+v", r)
	}
	stop(s)

	cmd := exec.CommandContext(t.Context(), "sh", "-c", `sha256sum "$0"/*`, dir)
	want, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	sameLines(t, string(read(t, out)), string(want))
}

// manyFiles makes so many files that a test is quicker than the examples, also on a busy machine.
// Some of them are the same.
func manyFiles(t *testing.T, dir string) {
	t.Helper()
	block := strings.Repeat("lastcall ", 1<<16)
	path := func(i int) string { return filepath.Join(dir, fmt.Sprintf("file %03d", i)) }
	for i := range 300 {
		var err error
		if i < 100 {
			err = os.WriteFile(path(i), []byte(block[i:]), 0o600)
		} else {
			err = os.Link(path(i-100), path(i))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// sameLines compares a result with what sha256sum prints.
func sameLines(t *testing.T, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	t.Errorf("%d bytes differ from sha256sum's %d", len(got), len(want))
	lines, wanted := strings.SplitAfter(got, "\n"), strings.SplitAfter(want, "\n")
	for i := range min(len(lines), len(wanted)) {
		if lines[i] != wanted[i] {
			t.Fatalf("line %d is %q, want %q", i+1, lines[i], wanted[i])
		}
	}
}
