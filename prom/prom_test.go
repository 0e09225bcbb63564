package prom

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// scrape returns the text of a scrape. Its registry checks that Describe has described everything
// that is collected.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m)
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), "GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// has checks that a scrape has lines.
func has(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("the scrape lacks %s", line)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestMetrics_NamesFollowTheConventions(t *testing.T) {
	m := New()
	m.WatchStop(t.Context())
	m.WatchTasks(&countedStore{count: func() (task.Counts, error) {
		return task.Counts{Tasks: []task.Count{{Queue: "q", Kind: "k", Status: task.StatusQueued, N: 1}}}, nil
	}})
	m.Observe(t.Context(), task.Event{Task: task.Task{Kind: "k"}, Status: task.StatusRunning})
	m.Observe(t.Context(), task.Event{Task: task.Task{Kind: "k"}, Status: task.StatusSucceeded})
	(&measuredStore{m: m}).call("add")(errors.New("away"))
	if ours := checkNames(t, scrape(t, m)); ours != 11 {
		t.Errorf("%d metrics of ours are there, want 11", ours)
	}
}

// checkNames checks that the names of this package's metrics follow Prometheus's conventions, with
// lastcall_ in front and the base unit and _total at the end. It returns how many there are.
func checkNames(t *testing.T, text string) (ours int) {
	t.Helper()
	var (
		types  = regexp.MustCompile(`(?m)^# TYPE (lastcall\S*) (\S+)$`)
		labels = regexp.MustCompile(`[{,]([^={},]+)="`)
		snake  = regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
		inside = regexp.MustCompile(`_(seconds|bytes|ratio|total)_|_(ms|millis|milliseconds|minutes|hours|kib|mib|count|sum)(_|$)`)
	)
	for _, found := range types.FindAllStringSubmatch(text, -1) {
		ours++
		name, kind := found[1], found[2]
		if !strings.HasPrefix(name, "lastcall_") || !snake.MatchString(name) || inside.MatchString(strings.TrimSuffix(name, "_total")) {
			t.Errorf("%s: use lastcall_, words in lower case, and the base unit last", name)
		}
		if (kind == "counter") != strings.HasSuffix(name, "_total") {
			t.Errorf("%s is a %s: counters end with _total, and nothing else does", name, kind)
		}
		if kind == "histogram" && !strings.HasSuffix(name, "_seconds") {
			t.Errorf("%s is a histogram without a unit", name)
		}
	}
	for _, found := range labels.FindAllStringSubmatch(text, -1) {
		if !snake.MatchString(found[1]) {
			t.Errorf("the label %s is not snake_case", found[1])
		}
	}
	return ours
}

func TestMetrics_TellOfRunsAndOfWhatBecameOfThem(t *testing.T) {
	m := New()
	one := task.Task{Kind: "k"}
	m.Observe(t.Context(), task.Event{Task: one, Status: task.StatusRunning, Waited: 2 * time.Second})
	m.Observe(t.Context(), task.Event{Task: one, Status: task.StatusSucceeded, Took: 3 * time.Second})
	m.Observe(t.Context(), task.Event{Task: one, Status: task.StatusFailed, Took: time.Second, Stale: true})
	has(t, scrape(t, m),
		`lastcall_task_wait_seconds_sum{kind="k"} 2`, `lastcall_task_wait_seconds_count{kind="k"} 1`,
		`lastcall_task_run_seconds_sum{kind="k",status="succeeded"} 3`, `lastcall_task_run_seconds_count{kind="k",status="stale"} 1`,
		`lastcall_task_interruptions_total{reason="stop"} 0`, `lastcall_stale_writes_refused_total 0`, `lastcall_task_crashes_total 0`)
}

func TestMetrics_CountInterruptionsCrashesAndStaleWritesAtTheStore(t *testing.T) {
	m := New()
	s := &measuredStore{Store: memstore.New(), m: m}
	defer s.Close()
	stop := task.Change{Status: task.StatusInterrupted, Reason: task.ReasonStop}
	lost := task.Change{Status: task.StatusInterrupted, Reason: task.ReasonLost, Crashed: true, Reclaimed: true}
	taken := task.Change{Status: task.StatusInterrupted, Reason: task.ReasonDeadline, Reclaimed: true}
	s.applied(stop, nil)
	s.applied(lost, nil)
	s.applied(stop, task.ErrLeaseLost)
	s.applied(taken, task.ErrLeaseLost) // another worker reclaimed the run first: no stale write
	s.applied(stop, errors.New("away"))
	s.applied(task.Change{Status: task.StatusSucceeded}, nil)
	s.applied(task.Change{Status: task.StatusQueued, Reason: task.ReasonTurn}, nil)
	s.applied(task.Change{Status: task.StatusQueued}, nil)
	if errs := s.Apply(t.Context(), []task.Change{{Fence: task.Fence{Task: "0197c0de-0000-7000-8000-000000000000", Run: 1, Worker: "w"}, Status: task.StatusSucceeded}}); len(errs) != 1 || errs[0] == nil {
		t.Errorf("a run that is nobody's: %v", errs)
	}
	has(t, scrape(t, m), `lastcall_task_interruptions_total{reason="stop"} 1`, `lastcall_task_interruptions_total{reason="deadline"} 0`,
		`lastcall_task_interruptions_total{reason="turn"} 1`,
		`lastcall_task_crashes_total 1`, `lastcall_store_seconds_count{call="apply"} 1`)
}

// countedStore is a store for Count and Workers only. It has one worker, which knows the kind k.
type countedStore struct {
	task.Store
	count func() (task.Counts, error)
}

func (s *countedStore) Count(_ context.Context, q task.CountQuery) (task.Counts, error) {
	all, err := s.count()
	tally := storekit.NewTally(q)
	for _, n := range all.Tasks {
		tally.Add(n)
	}
	tally.Suspects(all.SuspectsWaiting, all.SuspectsRunning)
	return tally.Counts(all.Paused), err
}

func (*countedStore) Schedules(context.Context, task.ScheduleQuery) ([]task.StoredSchedule, error) {
	return nil, nil
}

func (s *countedStore) Workers(context.Context) ([]task.WorkerInfo, error) {
	return []task.WorkerInfo{{Beat: task.Beat{Kinds: []string{"k"}}}}, nil
}

func TestMetrics_NameTheKindsThatAWorkerKnowsAndStaySmallWhateverIsSubmitted(t *testing.T) {
	m := New()
	long := strings.Repeat("x", 90)
	m.WatchTasks(&countedStore{count: func() (c task.Counts, _ error) {
		for i := range 50_000 {
			c.Tasks = append(c.Tasks, task.Count{Queue: fmt.Sprintf("q%d%s", i, long), Kind: "k", Status: task.StatusQueued, N: 1},
				task.Count{Queue: "q", Kind: fmt.Sprintf("unknown%d%s", i, long), Status: task.StatusFailed, N: 2})
		}
		return c, nil
	}})
	text := scrape(t, m)
	if len(text) > 1<<20 || strings.Contains(text, "unknown") {
		t.Errorf("a scrape has %d bytes; it names unknown kinds: %v", len(text), strings.Contains(text, "unknown"))
	}
	has(t, text, `lastcall_tasks{kind="(other)",queue="(other)",status="failed"} 100000`)
	queued := 0
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "lastcall_tasks{") && strings.Contains(line, `status="queued"`) {
			n, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
			if err != nil {
				t.Fatal(err)
			}
			queued += int(n)
		}
	}
	if queued != 50_000 {
		t.Errorf("%d tasks are queued by the metrics, want 50000", queued)
	}
}

func TestMetrics_CountTheTasksAtMostOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New()
		asked := 0
		var err error
		m.WatchTasks(&countedStore{count: func() (task.Counts, error) {
			asked++
			return task.Counts{Tasks: []task.Count{{Queue: "q", Kind: "k", Status: task.StatusQueued, N: 10 * asked}}, SuspectsWaiting: 7, SuspectsRunning: 3}, err
		}})
		for range 3 {
			has(t, scrape(t, m), `lastcall_tasks{kind="k",queue="q",status="queued"} 10`, `lastcall_store_up 1`,
				`lastcall_suspects{state="waiting"} 7`, `lastcall_suspects{state="running"} 3`)
		}
		time.Sleep(countTrusted)
		has(t, scrape(t, m), `lastcall_tasks{kind="k",queue="q",status="queued"} 20`)
		time.Sleep(countTrusted)
		err = errors.New("away")
		text := scrape(t, m)
		has(t, text, `lastcall_store_up 0`)
		if strings.Contains(text, "lastcall_tasks{") || asked != 3 {
			t.Errorf("asked %d times:\n%s", asked, text)
		}
	})
}

func TestMetrics_TellThePhaseOfAStopAndTheTimeLeft(t *testing.T) {
	m := New()
	g, err := lastcall.New(t.Context(), lastcall.Config{Grace: time.Minute, Logger: slog.New(slog.DiscardHandler), TerminationLog: "-"})
	if err != nil {
		t.Fatal(err)
	}
	stopped, seen := make(chan struct{}), make(chan struct{})
	if err := g.Go("work", func(ctx context.Context) error {
		m.WatchStop(ctx)
		close(stopped)
		<-seen
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	<-stopped
	text := scrape(t, m)
	has(t, text, `lastcall_stop_phase{phase="running"} 1`, `lastcall_stop_phase{phase="drain"} 0`)
	if strings.Contains(text, "\nlastcall_stop_remaining_seconds") {
		t.Error("time is left of no stop")
	}
	g.Stop(nil)
	text = scrape(t, m)
	has(t, text, `lastcall_stop_phase{phase="running"} 0`, `lastcall_stop_phase{phase="drain"} 1`)
	if !strings.Contains(text, "\nlastcall_stop_remaining_seconds 5") || checkNames(t, text) == 0 {
		t.Errorf("some of a minute must be left:\n%s", text)
	}
	close(seen)
	if report := g.Wait(); report.ExitCode() != 0 {
		t.Errorf("%v", report)
	}
	has(t, scrape(t, m), `lastcall_stop_phase{phase="close"} 1`)
}

func TestMetrics_TellOnceOfAKindThatTwoWorkersHavePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, full := New(), task.Kind[string]{Name: "full"}
		store := m.Store(memstore.New())
		defer store.Close()
		var mux task.Mux
		task.Handle(&mux, full, func(context.Context, *task.Run, string) error { return task.PauseKind(syscall.ENOSPC) })
		g, err := lastcall.New(t.Context(), lastcall.Config{Logger: slog.New(slog.DiscardHandler), TerminationLog: "-"})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			w, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Observe: m.Observe, Concurrency: 1, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			m.WatchWorker(w)
			if err := g.Go("worker", w.Serve); err != nil {
				t.Fatal(err)
			}
		}
		client := task.NewClient(store)
		for range 20 {
			if _, err := full.Enqueue(t.Context(), client, "", nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		for _, w := range m.workers {
			if len(w.PausedKinds()) != 1 {
				t.Error("a worker has not paused the kind")
			}
		}
		has(t, scrape(t, m), `lastcall_kind_paused{kind="full",reason="no space left on device"} 1`)
		g.Stop(nil)
		if report := g.Wait(); report.ExitCode() != 0 {
			t.Errorf("%v", report)
		}
	})
}

func TestMetrics_WatchOneStopAndOneStoreTheLastOfEach(t *testing.T) {
	m := New()
	for _, n := range []int{1, 2} {
		m.WatchStop(t.Context())
		m.WatchTasks(&countedStore{count: func() (task.Counts, error) {
			return task.Counts{Tasks: []task.Count{{Queue: "q", Kind: "k", Status: task.StatusQueued, N: n}}}, nil
		}})
	}
	has(t, scrape(t, m), `lastcall_tasks{kind="k",queue="q",status="queued"} 2`, `lastcall_stop_phase{phase="running"} 1`)
}

// everyMinute is due at each full minute.
type everyMinute struct{}

func (everyMinute) Next(t time.Time) time.Time { return t.Truncate(time.Minute).Add(time.Minute) }

func TestMetrics_ShowTheTicksOfSchedules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New()
		store := m.Store(memstore.New())
		m.WatchTasks(store)
		entry := func(name string, overlap task.Overlap) task.ScheduleEntry {
			return task.ScheduleEntry{Name: name, Schedule: everyMinute{}, Overlap: overlap, Missed: task.MissedSkip, Task: task.NewTask{Kind: "k", Queue: "q", Payload: []byte("{}")}}
		}
		s, err := task.NewScheduler(task.SchedulerConfig{Store: store, Name: "shop", Logger: slog.New(slog.DiscardHandler),
			Schedules: []task.ScheduleEntry{entry("allow", task.OverlapAllow), entry("skip", task.OverlapSkip)}})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		look := func(until time.Duration) {
			t.Helper()
			time.Sleep(time.Until(began.Add(until)))
			for range 3 {
				if _, err := s.Look(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		look(0)
		look(time.Minute + 2*time.Second)
		look(2*time.Minute + time.Second)
		if err := task.NewClient(store).PauseSchedule(t.Context(), "shop/allow"); err != nil {
			t.Fatal(err)
		}
		look(3 * time.Minute)
		if _, err := task.NewClient(store).RunSchedule(t.Context(), "shop/allow"); err != nil {
			t.Fatal(err)
		}
		at := func(d time.Duration) string { return strconv.FormatFloat(float64(began.Add(d).Unix()), 'g', -1, 64) }
		has(t, scrape(t, m), `lastcall_schedule_paused{schedule="allow",set="shop"} 1`, `lastcall_schedule_paused{schedule="skip",set="shop"} 0`,
			`lastcall_schedule_next_tick_timestamp_seconds{schedule="skip",set="shop"} `+at(4*time.Minute),
			`lastcall_schedule_last_tick_timestamp_seconds{schedule="allow",set="shop"} `+at(2*time.Minute),
			`lastcall_schedule_last_tick_timestamp_seconds{schedule="skip",set="shop"} `+at(time.Minute),
			`lastcall_schedule_ticks_total{outcome="created",set="shop"} 3`, `lastcall_schedule_ticks_total{outcome="skipped",set="shop"} 2`,
			`lastcall_schedule_ticks_total{outcome="left_out",set="shop"} 1`, `lastcall_schedule_delay_seconds_sum{set="shop"} 5`,
			`lastcall_schedule_delay_seconds_count{set="shop"} 3`)
	})
}
