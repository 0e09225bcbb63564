package sqlitestore

import (
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

func TestPrune_LeavesNothingOfATask(t *testing.T) {
	s, path := fresh(t)
	const n = 40
	ends := []task.Status{task.StatusSucceeded, task.StatusFailed, task.StatusCancelled, task.StatusInterrupted}
	if _, err := s.Heartbeat(t.Context(), beat("w", 1, task.WorkerRunning)); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		queue := []string{"a", "b", "c"}[i%3]
		if _, err := s.Add(t.Context(), []task.NewTask{{ID: id(i), Kind: "k", Queue: queue, Key: id(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	claim := func() []task.Task {
		got, err := s.Claim(t.Context(), task.ClaimRequest{Worker: "w", Max: n, Kinds: []task.KindClaim{{Kind: "k", Max: n}}})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	apply := func(c task.Change) {
		c.Checkpoint, c.Log, c.Progress = []byte("checkpoint"), []byte("log\n"), &task.Progress{Fraction: 1}
		if err := s.Apply(t.Context(), []task.Change{c})[0]; err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range claim() {
		apply(endOf(c, task.StatusInterrupted))
	}
	for i, c := range claim() {
		apply(endOf(c, ends[i%len(ends)]))
		if ends[i%len(ends)] == task.StatusInterrupted {
			if err := s.Control(t.Context(), task.Command{Verb: task.VerbCancel, Task: c.ID}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := s.Heartbeat(t.Context(), beat("w", 2, task.WorkerStopped)); err != nil {
		t.Fatal(err)
	}
	left := 0
	for req := (task.PruneRequest{Age: -time.Hour, Max: 7}); ; left++ {
		done, err := s.Prune(t.Context(), req)
		if err != nil || left > n {
			t.Fatalf("%+v, %v", done, err)
		}
		if req.After = done.Next; done.Next == "" {
			break
		}
	}
	db := rawDB(t, path)
	list := ""
	err := db.QueryRowContext(t.Context(), `select group_concat(name) from sqlite_master where type = 'table' and name <> 'lastcall'`).Scan(&list)
	names := strings.Split(list, ",")
	if err != nil || len(names) < 10 {
		t.Fatalf("tables %v, %v", names, err)
	}
	for _, name := range names {
		rows := 0
		if err := db.QueryRowContext(t.Context(), `select count(*) from `+name).Scan(&rows); err != nil || rows != 0 {
			t.Errorf("%s has %d rows, %v", name, rows, err)
		}
	}
}

func TestPrune_GoesByTheClockThatIsBehind(t *testing.T) {
	s, _ := fresh(t)
	now := time.Now()
	s.now = func() time.Time { return now }
	for _, c := range claimed(t, s, 2) {
		if err := s.Apply(t.Context(), []task.Change{endOf(c, task.StatusSucceeded)})[0]; err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(8 * 24 * time.Hour) // the store's clock leaps
	for _, c := range []struct {
		clock time.Time
		want  int
	}{{now.Add(-8 * 24 * time.Hour), 0}, {now.Add(24 * time.Hour), 2}} {
		done, err := s.Prune(t.Context(), task.PruneRequest{Age: 7 * 24 * time.Hour, Clock: c.clock, Max: 10})
		if err != nil || done.Tasks != c.want {
			t.Errorf("by the clock %v: %+v, %v, want %d", c.clock, done, err, c.want)
		}
	}
}

func TestPrune_ForgetsASetWithoutSchedulesADayAfterItsLastProcess(t *testing.T) {
	s, path := fresh(t)
	for name, schedules := range map[string][]task.ScheduleRecord{"empty": nil, "heard": nil, "full": {{Name: "a"}}} {
		if _, err := s.PutSchedules(t.Context(), task.SchedulesPut{ScheduleSet: task.ScheduleSet{Name: name, Generation: name}, Schedules: schedules}); err != nil {
			t.Fatal(err)
		}
	}
	long := (25 * time.Hour).Microseconds()
	if _, err := rawDB(t, path).ExecContext(t.Context(), `update schedule_sets set heard = heard - ?`, long); err != nil {
		t.Fatal(err)
	}
	sets := func(clock time.Time) (all string) {
		t.Helper()
		if _, err := s.Prune(t.Context(), task.PruneRequest{KeepOthers: true, Max: 1, Clock: clock}); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"empty", "heard", "full"} {
			got, err := s.DueSchedules(t.Context(), task.DueRequest{Set: name, Generation: name, Alive: name == "heard"})
			if err != nil {
				t.Fatal(err)
			}
			all += got.Set.Generation + " "
		}
		return all
	}
	if got := sets(time.Now().Add(-2 * time.Hour)); got != "empty heard full " {
		t.Errorf("by a clock that is behind there are %s", got)
	}
	if got := sets(time.Time{}); got != " heard full " {
		t.Errorf("after a day there are %s", got)
	}
}
