package httpapi

import (
	"errors"
	"slices"
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

func TestQueues_EveryOneThatATaskMayNameCanBePausedOverHTTP(t *testing.T) {
	s := serve(t, Config{})
	c := s.client("")
	for _, name := range []string{"a/b", "/a", "a/", "//", "a//b", "../a", "a/..", "./a", "...", "-", "_", "/.", "a/./b", ".a"} {
		if _, err := c.Enqueue(t.Context(), "k", []byte("1"), &task.EnqueueOptions{Queue: name}); err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		for _, paused := range []bool{true, false} {
			ask := func() error { return c.Pause(t.Context(), name, nil) }
			if !paused {
				ask = func() error { return c.Resume(t.Context(), name) }
			}
			if err := ask(); err != nil {
				t.Errorf("%q: %v", name, err)
			}
			if counts, err := s.tasks.Count(t.Context()); err != nil || slices.Contains(counts.Paused, name) != paused {
				t.Errorf("%q: %q, %v; want paused %v", name, counts.Paused, err, paused)
			}
		}
	}
	for _, name := range []string{"/", ".", ".."} {
		_, remote := c.Enqueue(t.Context(), "k", []byte("1"), &task.EnqueueOptions{Queue: name})
		_, local := s.tasks.Enqueue(t.Context(), "k", []byte("1"), &task.EnqueueOptions{Queue: name})
		_, kind := c.Enqueue(t.Context(), name, []byte("1"), nil)
		for _, err := range []error{remote, local, kind} {
			if !errors.Is(err, task.ErrInvalid) {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
}
