package task_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

// ended returns tasks that were cancelled, alternately of kinds a and b.
func ended(t *testing.T, c *task.Client, n int) (ids []string) {
	t.Helper()
	for i := range n {
		got, err := c.Enqueue(t.Context(), []string{"a", "b"}[i%2], []byte("1"), nil)
		if err == nil {
			err = c.Cancel(t.Context(), got.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, got.ID)
	}
	return ids
}

func TestFind_LooksUntilItHasWhatIsWanted(t *testing.T) {
	c := task.NewClient(memstore.New())
	ids := ended(t, c, 30)
	q := task.Query{Worker: "", Finished: task.Span{To: time.Now().Add(time.Hour)}, Kinds: []string{"a"}, Look: 2, Limit: 7}
	found, err := c.Find(t.Context(), q)
	if err != nil || len(found) != 7 || found[0].ID != ids[28] {
		t.Errorf("%d found, %v", len(found), err)
	}
	q.ErrorText = "nothing has this"
	if found, err := c.Find(t.Context(), q); err != nil || len(found) != 0 {
		t.Errorf("%d found, %v", len(found), err)
	}
	page, err := c.List(t.Context(), q)
	if err != nil || len(page.Tasks) != 0 || page.Next == "" {
		t.Errorf("a page of it: %+v, %v", page, err)
	}
}

func TestQuery_RefusesWhatNoStoreCanLookFor(t *testing.T) {
	c := task.NewClient(memstore.New())
	many := slices.Repeat([]string{"k"}, 11)
	for i := range many {
		many[i] += fmt.Sprint(i)
	}
	created := task.Query{}.PositionOf(task.Task{ID: "0197c0de-0000-7000-8000-000000000000", Created: time.Now()}).String()
	for says, q := range map[string]task.Query{
		"121 combinations":            {Kinds: many, Queues: many},
		"no status is called":         {Statuses: []task.Status{"done"}},
		"no order is called":          {Order: "age"},
		"out of reach":                {Created: task.Span{From: time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC)}},
		"UTF-8 without NUL":           {ErrorText: "\x00"},
		"begin it again":              {Order: task.OrderFinished, After: created},
		"no place in the order":       {Order: task.OrderFinished, After: "0197c0de-0000-7000-8000-000000000000"},
		"is not a UUID in lower case": {After: "c12.none"},
	} {
		if _, err := c.Find(t.Context(), q); !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want one that says %q", q, err, says)
		}
	}
}

func TestPosition_ComesBackAsItWas(t *testing.T) {
	at := time.Unix(1, 123456789)
	for _, order := range []task.Order{task.OrderCreated, task.OrderFinished} {
		p := task.Query{Order: order}.PositionOf(task.Task{ID: "f47ac10b-58cc-4372-a567-0e02b2c3d479", Created: at, Finished: at})
		if got, ok := task.ParsePosition(p.String()); !ok || got.Order != order || got.ID != p.ID || !got.At.Equal(at) {
			t.Errorf("%s: %+v, %t", p, got, ok)
		}
	}
	for _, text := range []string{"", "c", "c1", "c1.", "x1.f47ac10b-58cc-4372-a567-0e02b2c3d479", "c1.F47ac10b-58cc-4372-a567-0e02b2c3d479", "cx.f47ac10b-58cc-4372-a567-0e02b2c3d479"} {
		if p, ok := task.ParsePosition(text); ok {
			t.Errorf("%q was read as %+v", text, p)
		}
	}
}

func TestBulk_CountsCommandsAndGoesOn(t *testing.T) {
	c := task.NewClient(memstore.New())
	ended(t, c, 1203)
	var steps []int
	as := c.As("ann", "why not")
	q := task.Query{Kinds: []string{"a", "c"}}
	got, err := as.Bulk(t.Context(), task.VerbRetry, q, &task.BulkOptions{DryRun: true, Step: func(r task.BulkResult) { steps = append(steps, r.Found) }})
	if err != nil || got != (task.BulkResult{Found: 602}) || !slices.Equal(steps, []int{500, 602}) {
		t.Errorf("counted %+v, %v, in steps %v", got, err, steps)
	}
	first, err := as.Bulk(t.Context(), task.VerbRetry, q, &task.BulkOptions{Limit: 7})
	if err != nil || first.Found != 7 || first.Done != 7 || first.Next == "" {
		t.Fatalf("of seven: %+v, %v", first, err)
	}
	q.After = first.Next
	rest, err := as.Bulk(t.Context(), task.VerbRetry, q, nil)
	if err != nil || rest != (task.BulkResult{Found: 595, Done: 595}) || first.Plus(rest) != (task.BulkResult{Found: 602, Done: 602}) {
		t.Errorf("the rest: %+v, %v", rest, err)
	}
	if again, err := as.Bulk(t.Context(), task.VerbRetry, q, nil); err != nil || again != (task.BulkResult{}) {
		t.Errorf("again: %+v, %v", again, err)
	}
	queued, err := c.Find(t.Context(), task.Query{Status: task.StatusQueued, Limit: 1})
	if err != nil || len(queued) != 1 {
		t.Fatal(queued, err)
	}
	commands, err := c.Commands(t.Context(), queued[0].ID)
	if err != nil || len(commands) != 2 || commands[1].Verb != task.VerbRetry || commands[1].By != "ann" || commands[1].Reason != "why not" || commands[0].By != "" {
		t.Errorf("%+v, %v", commands, err)
	}
}

func TestBulk_MeansTheTasksThatACommandIsFor(t *testing.T) {
	c := task.NewClient(memstore.New())
	ended(t, c, 4)
	for range 3 {
		if _, err := c.Enqueue(t.Context(), "a", []byte("1"), &task.EnqueueOptions{Delay: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []struct {
		verb task.Verb
		n    int
	}{{task.VerbInterrupt, 0}, {task.VerbRetry, 4}, {task.VerbDelete, 0}, {task.VerbCancel, 7}, {task.VerbDelete, 7}} {
		got, err := c.Bulk(t.Context(), want.verb, task.Query{}, nil)
		if err != nil || got != (task.BulkResult{Found: want.n, Done: want.n}) {
			t.Errorf("%s: %+v, %v, want %d", want.verb, got, err, want.n)
		}
	}
	for _, q := range []task.Query{{Status: task.StatusRunning}, {Statuses: []task.Status{task.StatusFailed, task.StatusSucceeded}}, {IDs: []string{"x"}}} {
		if _, err := c.Bulk(t.Context(), task.VerbRetry, q, nil); !errors.Is(err, task.ErrInvalid) {
			t.Errorf("%+v: %v", q, err)
		}
	}
	if _, err := c.Bulk(t.Context(), task.VerbPause, task.Query{}, nil); !errors.Is(err, task.ErrInvalid) {
		t.Errorf("%v", err)
	}
}

// movingStore changes what a listing has found, before anything is done to it.
type movingStore struct {
	task.Store
	move func()
	fail error
}

func (s *movingStore) ControlAll(ctx context.Context, cmd task.Command, seen []task.Standing) []error {
	if s.fail != nil {
		errs := make([]error, len(seen))
		for i := range errs {
			errs[i] = s.fail
		}
		return errs
	}
	s.move()
	return s.Store.ControlAll(ctx, cmd, seen)
}

func TestBulk_LeavesWhatHasChangedAndStopsAtAnError(t *testing.T) {
	s := &movingStore{Store: memstore.New()}
	c := task.NewClient(s)
	ids := ended(t, c, 5)
	s.move = func() {
		if err := errors.Join(c.Retry(t.Context(), ids[1], nil), c.Delete(t.Context(), ids[2])); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := c.Bulk(t.Context(), task.VerbDelete, task.Query{}, nil); err != nil || got != (task.BulkResult{Found: 5, Done: 3, Changed: 2}) {
		t.Errorf("%+v, %v", got, err)
	}
	if left, err := c.Get(t.Context(), ids[1]); err != nil || left.Status != task.StatusQueued {
		t.Errorf("%+v, %v", left, err)
	}
	s.fail = errors.New("the disk is gone")
	got, err := c.Bulk(t.Context(), task.VerbCancel, task.Query{}, nil)
	if !errors.Is(err, s.fail) || got.Done != 0 || got.Next != "" {
		t.Errorf("%+v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Bulk(ctx, task.VerbCancel, task.Query{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// slowStore needs some time for each call of ControlAll, and fails in one of them.
type slowStore struct {
	task.Store
	takes time.Duration
	calls []int // how many tasks each call had
	fails int   // the number of the call that fails; 0: none
}

func (s *slowStore) ControlAll(ctx context.Context, cmd task.Command, seen []task.Standing) []error {
	time.Sleep(s.takes)
	if s.calls = append(s.calls, len(seen)); len(s.calls) == s.fails {
		return slices.Repeat([]error{errors.New("the disk is gone")}, len(seen))
	}
	return s.Store.ControlAll(ctx, cmd, seen)
}

func TestBulk_LeavesTheStoreToTheWorkersForAThirdOfTheTime(t *testing.T) {
	for _, takes := range []struct{ each, all time.Duration }{
		{200 * time.Millisecond, 6*200*time.Millisecond + 5*100*time.Millisecond},
		{4 * time.Second, 6*4*time.Second + 5*time.Second}, // no pause is longer than a second
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &slowStore{Store: memstore.New(), takes: takes.each}
			c := task.NewClient(s)
			ended(t, c, 520)
			began := time.Now()
			got, err := c.Bulk(t.Context(), task.VerbDelete, task.Query{}, nil)
			if err != nil || got != (task.BulkResult{Found: 520, Done: 520}) || !slices.Equal(s.calls, []int{100, 100, 100, 100, 100, 20}) {
				t.Errorf("%+v, %v, in calls of %d", got, err, s.calls)
			}
			if took := time.Since(began); took != takes.all {
				t.Errorf("took %v, want %v", took, takes.all)
			}
		})
	}
}

func TestBulk_CountsWhatWasDoneBeforeAnErrorInTheMiddleOfAStep(t *testing.T) {
	s := &slowStore{Store: memstore.New(), fails: 3}
	c := task.NewClient(s)
	ended(t, c, 520)
	got, err := c.Bulk(t.Context(), task.VerbDelete, task.Query{}, nil)
	if err == nil || got != (task.BulkResult{Found: 200, Done: 200}) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := c.Bulk(t.Context(), task.VerbDelete, task.Query{}, nil); err != nil || got != (task.BulkResult{Found: 320, Done: 320}) {
		t.Errorf("the rest: %+v, %v", got, err)
	}
}
