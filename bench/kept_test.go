package main

import (
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

// If the test is run by root, the user nobody runs the server and must be able to enter the
// directory.
func TestKept_LoadsADataSetOnceAndUsesItAgainWhileItsSizeIsTheSame(t *testing.T) {
	dir, err := os.MkdirTemp("/var/tmp", "lastcall-bench-") //nolint:usetesting // nobody may not enter the test's own
	if err != nil {
		t.Fatal(err)
	}
	before := dataDir
	t.Cleanup(func() {
		dataDir = before
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	dataDir = dir
	size := dataset{ended: 40, waiting: 20, running: 5, queues: 2, daily: 2}
	var first []string
	for range 2 {
		_, err := withKept(size, func(db database, ids []string) (figures, error) {
			store, err := openPostgres(db)
			if err != nil {
				return nil, err
			}
			if first == nil {
				first = ids
			} else if !slices.Equal(ids, first) {
				t.Errorf("it was loaded again: the ids are %v, and were %v", ids, first)
			}
			running, err := store.Find(t.Context(), task.Query{Status: task.StatusRunning})
			if len(running) != size.running {
				t.Errorf("%d tasks run, want %d", len(running), size.running)
			}
			return nil, errors.Join(err, store.Close())
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(first) == 0 {
		t.Error("there are no ids")
	}
	size.waiting++
	_, err = withKept(size, func(_ database, ids []string) (figures, error) {
		if slices.Equal(ids, first) {
			t.Error("a data set of another size is taken for this one")
		}
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadDir(dir)
	if err != nil || len(kept) != 1 {
		t.Errorf("%d data sets of one size are kept (%v), want the last one", len(kept), err)
	}
}
