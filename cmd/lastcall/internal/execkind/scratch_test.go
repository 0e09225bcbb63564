package execkind

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
)

func TestStopFile_HasDeadlineSecondsAndReason(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s, err := newScratch([]byte("{}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		left    time.Duration
		limited bool
		want    string
	}{
		{9500 * time.Millisecond, true, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z 9\.500 stop\n$`},
		{0, false, `^- - stop\n$`},
	} {
		if err := s.writeStop(c.left, c.limited, "stop"); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(s.stopFile())
		if err != nil || !regexp.MustCompile(c.want).Match(b) {
			t.Errorf("%q, %v; want %s", b, err, c.want)
		}
	}
	if err := s.remove(); err != nil {
		t.Error(err)
	}
}

func TestStopFile_TheReasonOfAStopIsOneWord(t *testing.T) {
	for want, cause := range map[string]error{
		"stop": &lastcall.InterruptError{}, "timeout": task.ErrTimeout, "cancelled": fmt.Errorf("x: %w", task.ErrCancelled),
		"requested": task.ErrInterruptRequested, "lost": task.ErrLeaseLost,
	} {
		if got := whyStopped(cause); got != want {
			t.Errorf("%v: %q, want %q", cause, got, want)
		}
	}
}

func TestScratch_WhatAProgramHasLockedIsRemovedAllTheSame(t *testing.T) {
	root := filepath.Join(t.TempDir(), "run")
	locked := filepath.Join(root, "a", "b")
	if err := errors.Join(os.MkdirAll(locked, 0o700), os.WriteFile(filepath.Join(locked, "c"), nil, 0o600),
		os.Chmod(locked, 0), os.Chmod(filepath.Dir(locked), 0o500)); err != nil {
		t.Fatal(err)
	}
	if err := removeAll(root); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(root); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is left: %v", err)
	}
}

func TestScratch_ATemporaryDirectoryThatIsNotWritableIsToldWithWhatToDo(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	if _, err := newScratch(nil, nil); err == nil || !regexp.MustCompile("name another one in TMPDIR").MatchString(err.Error()) {
		t.Errorf("%v", err)
	}
}
