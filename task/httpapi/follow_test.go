package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/internal/stopwatch"
	"github.com/lastcall-go/lastcall/task"
)

// script is a source of a log that grows with each read.
type script struct {
	steps []step
	looks int
}

type step struct {
	log    string
	status task.Status
	err    error
}

func (s *script) Get(context.Context, string) (task.Task, error) {
	step := s.steps[min(s.looks, len(s.steps)-1)]
	return task.Task{Status: step.status}, step.err
}

func (s *script) Log(context.Context, string) ([]byte, error) {
	step := s.steps[min(s.looks, len(s.steps)-1)]
	s.looks++
	return []byte(step.log), nil
}

func TestFollowLog_ALogIsFollowedAcrossRunsAndErrorsUntilTheTaskHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := errors.New("away")
		src := &script{steps: []step{
			{"", task.StatusQueued, nil},
			{"one\n", task.StatusRunning, nil},
			{"one\ntwo\n", task.StatusInterrupted, nil},
			{"two\nthree\n", task.StatusRunning, nil}, // the beginning was dropped
			{"five\n", task.StatusRunning, nil},       // and more than that
			{"five\nend\n", task.StatusSucceeded, nil},
		}}
		var got []string
		began := time.Now()
		for b, err := range FollowLog(t.Context(), &flaky{src, 3, away}, someID, time.Second) {
			if err != nil {
				if !errors.Is(err, away) {
					t.Error(err)
				}
				got = append(got, "!")
				continue
			}
			got = append(got, string(b))
		}
		if want := []string{"one\n", "!", "two\n", "three\n", "[...]\nfive\n", "end\n"}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q, want %q", got, want)
		}
		if took := time.Since(began); took != 6*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// flaky fails once.
type flaky struct {
	LogSource
	in  int
	err error
}

func (f *flaky) Get(ctx context.Context, id string) (task.Task, error) {
	if f.in--; f.in == 0 {
		return task.Task{}, f.err
	}
	return f.LogSource.Get(ctx, id)
}

func TestFollowLog_FollowingEndsWithItsContextAndForATaskThatDoesNotExist(t *testing.T) {
	s := serve(t, Config{})
	for _, src := range []LogSource{s.tasks, s.client("")} {
		n := 0
		for _, err := range FollowLog(t.Context(), src, someID, time.Millisecond) {
			if n++; !errors.Is(err, task.ErrNotFound) || n > 1 {
				t.Fatalf("%T: %v, number %d", src, err, n)
			}
		}
		done, err := s.tasks.Enqueue(t.Context(), "k", []byte("1"), nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		for _, err := range FollowLog(ctx, src, done.ID, time.Millisecond) {
			t.Errorf("%T: %v", src, err)
		}
		cancel()
	}
}

// slowOverlap is the definition of overlap.
func slowOverlap(a, b []byte) int {
	for n := min(len(a), len(b)); n > 0; n-- {
		if bytes.HasSuffix(a, b[:n]) {
			return n
		}
	}
	return 0
}

func FuzzOverlap_OfTwoTexts(f *testing.F) {
	f.Add("one two", "two three")
	f.Add("aaaa", "aaaaa")
	f.Add("abab", "ababab")
	f.Add("aabaaab", "aabaaac")
	f.Add("", "x")
	f.Fuzz(func(t *testing.T, a, b string) {
		if got, want := overlap([]byte(a), []byte(b)), slowOverlap([]byte(a), []byte(b)); got != want {
			t.Errorf("overlap(%q, %q) = %d, want %d", a, b, got, want)
		}
	})
}

func TestFollowLog_ALongLogWithoutEndIsComparedQuickly(t *testing.T) {
	old, now := []byte(strings.Repeat("x", task.MaxLog)), []byte(strings.Repeat("x", task.MaxLog-1)+"y")
	watch := stopwatch.Start(t)
	if n := overlap(old, now); n != task.MaxLog-1 {
		t.Errorf("%d", n)
	}
	watch.AtMost(time.Second, "the comparison")
}
