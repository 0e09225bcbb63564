package tasktest_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/tasktest"
)

// This is how the tests of a handler may look. The handler sends a letter to each reader in a list.

// Letters is the payload.
type Letters struct{ To []string }

// Post sends letters.
type Post interface {
	Send(ctx context.Context, to string) error
}

var SendLetters = task.Kind[Letters]{Name: "send-letters", Timeout: time.Hour, OnStop: task.InterruptOnStop}

// sendLetters returns the handler. After each letter it saves its position.
func sendLetters(post Post) func(context.Context, *task.Run, Letters) error {
	return func(ctx context.Context, r *task.Run, l Letters) error {
		next := 0
		if _, err := r.Load(&next); err != nil {
			return err
		}
		for next < len(l.To) {
			if ctx.Err() != nil {
				return r.HandOver(next)
			}
			if err := post.Send(ctx, l.To[next]); err != nil {
				return err
			}
			next++
			if err := r.Save(ctx, next); err != nil {
				return err
			}
		}
		return r.SetResult(next)
	}
}

// letterbox is a Post that records the letters. Each letter takes a minute.
type letterbox []string

func (b *letterbox) Send(ctx context.Context, to string) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Minute):
		*b = append(*b, to)
		return nil
	}
}

var readers = Letters{To: []string{"ann", "ben", "cho"}}

func TestExample_EverybodyGetsALetter(t *testing.T) {
	var box letterbox
	got := tasktest.Run(t, sendLetters(&box), readers, tasktest.Options{})
	if got.Status != task.StatusSucceeded || string(got.Result) != "3" || !slices.Equal(box, readers.To) {
		t.Errorf("%s (%s), result %s, letters to %v", got.Status, got.Error, got.Result, box)
	}
}

// Wherever the stop comes, nobody is left out and nobody gets two letters.
func TestExample_AStopCostsNobodyALetter(t *testing.T) {
	saves := tasktest.Run(t, sendLetters(new(letterbox)), readers, tasktest.Options{}).Saves
	for n := 1; n <= saves; n++ {
		var box letterbox
		got := tasktest.Run(t, sendLetters(&box), readers, tasktest.Options{InterruptAtSave: n})
		if got.Status != task.StatusSucceeded || !slices.Equal(box, readers.To) {
			t.Errorf("interrupted at save %d: %s (%s), letters to %v", n, got.Status, got.Error, box)
		}
	}
}

// A run that has to make room for others (Kind.MaxRunTime) sees the same as at an interrupt: its
// context has ended when Save returns. The next run begins after the letter that was saved.
func TestExample_ATurnCostsNobodyALetter(t *testing.T) {
	var box letterbox
	got := tasktest.Run(t, sendLetters(&box), readers, tasktest.Options{InterruptAtSave: 1})
	if got.Status != task.StatusSucceeded || len(got.History) != 2 || !slices.Equal(box, readers.To) {
		t.Errorf("%s (%s) after %d runs, letters to %v", got.Status, got.Error, len(got.History), box)
	}
}

// The same at every save, by a last call, an interrupt and a SIGKILL. After a SIGKILL between a
// letter and its save that letter is sent again.
func TestExample_NobodyIsLeftOutWhereverItIsStopped(t *testing.T) {
	for name, opt := range tasktest.Everywhere(t, sendLetters(new(letterbox)), readers, tasktest.Options{}) {
		var box letterbox
		got := tasktest.Run(t, sendLetters(&box), readers, opt)
		once := slices.Compact(slices.Clone(box))
		if got.Status != task.StatusSucceeded || !slices.Equal(once, readers.To) || len(box) > len(once) && opt.CrashBeforeSave == 0 {
			t.Errorf("%s: %s (%s), letters to %v", name, got.Status, got.Error, box)
		}
	}
}

func TestExample_AfterACrashTheNextProcessGoesOn(t *testing.T) {
	var box letterbox
	got := tasktest.Run(t, sendLetters(&box), readers, tasktest.Options{CrashAtSave: 2})
	if got.Status != task.StatusSucceeded || got.Crashes != 1 || !slices.Equal(box, readers.To) {
		t.Errorf("%s (%s) with %d crashes, letters to %v", got.Status, got.Error, got.Crashes, box)
	}
}

// The kind's own policy, here OnStop, belongs to the test.
func TestExample_TheHandlerHandsOverAtLastCall(t *testing.T) {
	var (
		box letterbox
		mux task.Mux
	)
	task.Handle(&mux, SendLetters, sendLetters(&box))
	n, err := SendLetters.Prepare(readers, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := tasktest.RunTask(t, &mux, n, tasktest.Options{LastCallAtSave: 1, MaxRuns: 1})
	if got.Status != task.StatusInterrupted || got.Reason != task.ReasonStop || string(got.Checkpoint) != "1" {
		t.Errorf("%s (%s), checkpoint %s", got.Status, got.Reason, got.Checkpoint)
	}
}

// An older version of the program has left a checkpoint.
func TestExample_AnOldCheckpointIsUnderstood(t *testing.T) {
	var box letterbox
	got := tasktest.Run(t, sendLetters(&box), readers, tasktest.Options{Checkpoint: 2})
	if got.Status != task.StatusSucceeded || !slices.Equal(box, readers.To[2:]) {
		t.Errorf("%s (%s), letters to %v", got.Status, got.Error, box)
	}
}
