package task_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/cron"
	"github.com/lastcall-go/lastcall/task/memstore"
	"github.com/lastcall-go/lastcall/task/storetest"
)

// every returns an entry whose schedule is due at an interval.
func every(t *testing.T, name string, d time.Duration, change ...func(*task.ScheduleEntry)) task.ScheduleEntry {
	t.Helper()
	when, err := cron.Every(d)
	if err != nil {
		t.Fatal(err)
	}
	n, err := task.Prepare("k", []byte("{}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	e := task.ScheduleEntry{Name: name, Schedule: when, Task: n}
	for _, c := range change {
		c(&e)
	}
	return e
}

func scheduler(t *testing.T, s task.Store, entries ...task.ScheduleEntry) *task.Scheduler {
	t.Helper()
	p, err := task.NewScheduler(task.SchedulerConfig{Store: s, Name: "set", Schedules: entries, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// made returns how late the task of each tick was, by the time of the tick after begin.
func made(t *testing.T, s task.Store, begin time.Time) (late map[time.Duration]time.Duration) {
	t.Helper()
	found, err := s.Find(t.Context(), task.Query{Limit: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	late = make(map[time.Duration]time.Duration)
	for _, f := range found {
		at, err := time.Parse(time.RFC3339Nano, f.Meta[task.MetaTick])
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := late[at.Sub(begin)]; twice {
			t.Errorf("the tick of %v was made twice", at)
		}
		late[at.Sub(begin)] = f.Created.Sub(at)
	}
	return late
}

func TestScheduler_InAGroupTicksOnTimeAndEndsAtLastCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New()
		defer s.Close()
		begin := time.Now()
		g, err := lastcall.New(t.Context(), lastcall.Config{Grace: 10 * time.Second, Delay: -1, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			if err := g.Go(fmt.Sprint("scheduler", n), scheduler(t, s, every(t, "s", 10*time.Second)).Serve); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute + 5*time.Second)
		stopping := time.Now()
		g.Stop(nil)
		if report := g.Wait(); report.ExitCode() != 0 || time.Since(stopping) > time.Second {
			t.Errorf("after %v: %v", time.Since(stopping), report)
		}
		ticks := made(t, s, begin)
		if len(ticks) != 6 {
			t.Errorf("%v", ticks)
		}
		for n := 1; n <= 6; n++ {
			if late, ok := ticks[time.Duration(n)*10*time.Second]; !ok || late > 100*time.Millisecond {
				t.Errorf("tick %d came %v late, %t", n, late, ok)
			}
		}
	})
}

func TestScheduler_MakesEachTickOnceThroughFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New()
		defer s.Close()
		begin := time.Now()
		var calls atomic.Int64
		failed := errors.New("the network is in trouble")
		faulty := &storetest.FaultyStore{Store: s, Plan: func(method string) storetest.Fault {
			switch n := calls.Add(1); {
			case n < 10:
			case n%7 == 0:
				return storetest.Fault{After: failed}
			case n%5 == 0:
				return storetest.Fault{Before: failed}
			}
			return storetest.Fault{}
		}}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 2)
		for range 2 {
			p := scheduler(t, faulty, every(t, "s", 5*time.Second))
			go func() { done <- p.Serve(ctx) }()
		}
		time.Sleep(10*time.Minute + 4*time.Second) // the last tick may be late too
		stop()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		ticks := made(t, s, begin)
		if len(ticks) != 120 {
			t.Errorf("%d ticks in ten minutes, want 120", len(ticks))
		}
		for at, late := range ticks {
			if late > 3*time.Second {
				t.Errorf("the tick of %v came %v late", at, late)
			}
		}
	})
}

func TestScheduler_SaysAtTheStartThatTheStoreDoesNotAnswer(t *testing.T) {
	failed := errors.New("away")
	faulty := &storetest.FaultyStore{Store: memstore.New(), Plan: func(string) storetest.Fault { return storetest.Fault{Before: failed} }}
	if err := scheduler(t, faulty, every(t, "s", time.Second)).Serve(t.Context()); !errors.Is(err, failed) {
		t.Error(err)
	}
}

func TestNewScheduler_RefusesWhatCannotWork(t *testing.T) {
	of := func(change func(*task.ScheduleEntry)) []task.ScheduleEntry {
		return []task.ScheduleEntry{every(t, "s", time.Second, change)}
	}
	for says, cfg := range map[string]task.SchedulerConfig{
		"Store must be set":                  {Name: "set"},
		"must have no slash":                 {Name: "a/b"},
		"must have 1 to 100":                 {},
		"are called \"s\"":                   {Name: "set", Schedules: []task.ScheduleEntry{every(t, "s", time.Second), every(t, "s", time.Second)}},
		"may have only letters":              {Name: "set", Schedules: of(func(e *task.ScheduleEntry) { e.Name = "ä" })},
		"former name":                        {Name: "set", Schedules: of(func(e *task.ScheduleEntry) { e.FormerName = "ä" })},
		"same former name":                   {Name: "set", Schedules: []task.ScheduleEntry{every(t, "a", time.Second, formerly("x")), every(t, "b", time.Second, formerly("x"))}},
		"set Schedule":                       {Name: "set", Schedules: of(func(e *task.ScheduleEntry) { e.Schedule = nil })},
		"neither Key nor Delay":              {Name: "set", Schedules: of(func(e *task.ScheduleEntry) { e.Task.Key = "k" })},
		"neither Key nor Delay: use Overlap": {Name: "set", Schedules: of(func(e *task.ScheduleEntry) { e.Task.Delay = time.Second })},
		"set by each tick":                   {Name: "set", Schedules: of(func(e *task.ScheduleEntry) { e.Task.Meta = map[string]string{task.MetaTick: "x"} })},
		"kind \"\" must":                     {Name: "set", Schedules: of(func(e *task.ScheduleEntry) { e.Task.Kind = "" })},
		"Jitter":                             {Name: "set", Schedules: of(func(e *task.ScheduleEntry) { e.Jitter = -1 })},
		"Missed":                             {Name: "set", Schedules: of(func(e *task.ScheduleEntry) { e.Missed = "never" })},
		"Overlap \"never\"":                  {Name: "set", Schedules: of(func(e *task.ScheduleEntry) { e.Overlap = "never" })},
		"MaxMissed":                          {Name: "set", Schedules: of(func(e *task.ScheduleEntry) { e.MaxMissed = 1001 })},
	} {
		if !strings.HasPrefix(says, "Store") {
			cfg.Store = memstore.New()
		}
		if _, err := task.NewScheduler(cfg); !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

func formerly(name string) func(*task.ScheduleEntry) {
	return func(e *task.ScheduleEntry) { e.FormerName = name }
}

func TestScheduler_PutsTasksOffByAJitterThatFollowsFromTheTick(t *testing.T) {
	var runs [2]map[string]time.Duration
	for i := range runs {
		runs[i] = make(map[string]time.Duration)
		synctest.Test(t, func(t *testing.T) {
			s := &salted{Store: memstore.New()}
			defer s.Close()
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			p := scheduler(t, s, every(t, "s", time.Minute, func(e *task.ScheduleEntry) { e.Jitter = 10 * time.Second }))
			done := make(chan error, 1)
			go func() { done <- p.Serve(ctx) }()
			time.Sleep(20*time.Minute + time.Second)
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
			found, err := s.Find(t.Context(), task.Query{})
			if err != nil || len(found) != 20 {
				t.Fatalf("%d tasks, %v", len(found), err)
			}
			for _, f := range found {
				at, err := time.Parse(time.RFC3339Nano, f.Meta[task.MetaTick])
				if off := f.RunAt.Sub(at); err != nil || off < 0 || off > 10*time.Second {
					t.Errorf("put off by %v, %v", off, err)
				}
				runs[i][f.ID] = f.RunAt.Sub(at)
			}
		})
	}
	different := make(map[time.Duration]bool)
	for id, off := range runs[0] {
		if other, ok := runs[1][id]; !ok || (other-off).Abs() > 200*time.Millisecond {
			t.Errorf("task %s is put off by %v, and in another process by %v", id, off, other)
		}
		different[off] = true
	}
	if len(different) < 15 {
		t.Errorf("20 ticks are put off by %d times only", len(different))
	}
}

// salted has every set begin with the same salt.
type salted struct{ *memstore.Store }

func (s *salted) PutSchedules(ctx context.Context, put task.SchedulesPut) (task.ScheduleSet, error) {
	put.Salt = "salt"
	return s.Store.PutSchedules(ctx, put)
}

// custom is a user's own schedule.
type custom func(time.Time) time.Time

func (c custom) Next(t time.Time) time.Time { return c(t) }

func TestScheduler_StandsAScheduleThatDoesNotGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New()
		defer s.Close()
		first := time.Now().Add(time.Second)
		still := custom(func(time.Time) time.Time { return first }) // and never another one
		ctx, stop := context.WithCancel(t.Context())
		p := scheduler(t, s, every(t, "s", time.Hour, func(e *task.ScheduleEntry) { e.Schedule = still }))
		done := make(chan error, 1)
		go func() { done <- p.Serve(ctx) }()
		time.Sleep(time.Minute)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		found, err := task.NewClient(s).Schedules(t.Context(), task.ScheduleQuery{})
		if ticks := made(t, s, first); err != nil || len(ticks) != 1 || len(found) != 1 || !found[0].Next.IsZero() {
			t.Errorf("%v, %+v, %v", ticks, found, err)
		}
	})
}
