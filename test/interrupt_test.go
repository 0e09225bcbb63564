package test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

var (
	seedFlag   = flag.Uint64("seed", 0, "seed of the random choices; 0 takes LASTCALL_TEST_SEED, or a new one")
	pointsFlag = flag.Int("points", 0, "how many points of interruption each scenario has; 0 is 100, and 20 with -short")
)

// manyPoints returns how many points of interruption a scenario has.
func manyPoints(t *testing.T) int {
	t.Helper()
	const full, short = 100, 20
	switch {
	case *pointsFlag > 0:
		return *pointsFlag
	case testing.Short():
		t.Logf("make test-full: %d points of interruption instead of %d", full, short)
		return short
	}
	return full
}

// random returns a source of choices, and logs how to reproduce them.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := *seedFlag
	if v := os.Getenv("LASTCALL_TEST_SEED"); seed == 0 && v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatalf("LASTCALL_TEST_SEED: %v", err)
		}
	}
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("the choices can be made again with LASTCALL_TEST_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// source returns a large tree of real files: the Go installation's own source.
func source(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "src")
}

func TestInterrupt_HashTreeIsByteIdenticalAfterRandomInterruptions(t *testing.T) {
	t.Parallel()
	c := newCourse(t, "hash-tree", 400*time.Millisecond)
	c.run(manyPoints(t))

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sha256sum", "-c", "--quiet", "--strict", c.lastOut)
	cmd.Dir = c.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("sha256sum -c: %v\n%s", err, out)
	}
}

func TestInterrupt_GzipTreeOnPostgresIsByteIdenticalAfterRandomInterruptions(t *testing.T) {
	t.Parallel()
	c := newCourse(t, "gzip-tree", 200*time.Millisecond)
	c.store = pgtest.DSN(t)
	c.run(max(1, manyPoints(t)/2))
}

func TestInterrupt_GzipTreeIsByteIdenticalAfterRandomInterruptions(t *testing.T) {
	t.Parallel()
	c := newCourse(t, "gzip-tree", 400*time.Millisecond)
	c.run(manyPoints(t))

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "tar", "--compare", "--gzip", "--file", c.lastOut)
	cmd.Dir = c.dir
	if out, err := cmd.CombinedOutput(); err != nil && !ownersOnly(string(out)) {
		t.Errorf("tar --compare: %v\n%s", err, out)
	}
}

// ownersOnly reports whether tar found no difference except the owners, which the archive does not
// keep.
func ownersOnly(out string) bool {
	for line := range strings.Lines(out) {
		if !strings.Contains(line, "Uid differs") && !strings.Contains(line, "Gid differs") {
			return false
		}
	}
	return true
}

// course is a sequence of tasks of one kind, each interrupted at random until it is done.
type course struct {
	t       *testing.T
	rng     *rand.Rand
	kind    string
	dir     string
	longest time.Duration // until the next interruption
	store   string
	work    string
	want    []byte
	lastOut string
	deck    []way
	tally   map[string]int
}

// want has the counters that a task's record must have.
type want struct{ interruptions, crashes, deadlines, stops int }

// way is a way to stop a server, and its outcome for a running task.
type way struct {
	name  string
	grace string
	cut   func(*server)
	// status is the task's status after the stop, count its counters at the end.
	status string
	count  want
}

// drain leaves enough time: the task succeeds before the process ends.
var drain = way{name: "drain", grace: "60s", cut: stop}

// ways are the ways that cut a task short.
var ways = []way{
	{name: "kill", grace: "60s", status: "running", count: want{crashes: 1}, cut: func(s *server) {
		s.signal(syscall.SIGKILL)
		s.exit()
	}},
	{name: "kill in the drain", grace: "60s", status: "running", count: want{interruptions: 1, deadlines: 1}, cut: func(s *server) {
		s.signal(syscall.SIGTERM)
		s.waitLog("stop announced to the store")
		_ = s.cmd.Process.Signal(syscall.SIGKILL) // it may be done already
		s.exit()
	}},
	{name: "second signal", grace: "60s", status: "interrupted", count: want{interruptions: 1, stops: 1}, cut: func(s *server) {
		s.signal(syscall.SIGTERM)
		s.waitLog(`phase="last call"`)
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may be done already
		s.exits(0)
	}},
	{name: "short drain", grace: "1200ms", status: "interrupted", count: want{interruptions: 1, stops: 1}, cut: func(s *server) {
		s.signal(syscall.SIGTERM)
		if code := s.exit().ExitCode(); code != 0 && code != abandoned && code != unrecorded {
			s.t.Fatalf("exit code %d, want 0, %d or %d:\n%s", code, abandoned, unrecorded, s.text())
		}
	}},
}

// Exit codes of a server on a busy machine: a handler did not return in time, or the store did not
// record in time what handlers had returned.
const (
	abandoned  = 3
	unrecorded = 75
)

// outcome returns what a way has made of a running task, which the store now has as r. A handler
// that was abandoned is recorded as unresponsive, and logged as such if the stop has time for the
// store's answer. If there was no time to record it, the next server records an interruption by the
// deadline.
func (w way) outcome(s *server, r record) (status, reason string, count want) {
	deadline := want{interruptions: 1, deadlines: 1}
	switch {
	case len(s.lines("the handler is unresponsive")) > 0: // even if it returned just afterwards
		return "interrupted", "deadline", deadline
	case s.cmd.ProcessState.ExitCode() != abandoned || len(s.lines(" reason=stop")) > 0:
		return w.status, "stop", w.count
	case r.Status == "interrupted" && r.Reason == "deadline":
		return "interrupted", "deadline", deadline
	}
	return "running", "", deadline
}

// stop sends SIGTERM. The exit code is 0 even if a task was cut short, because that is recorded.
func stop(s *server) {
	s.signal(syscall.SIGTERM)
	s.exits(0)
}

func newCourse(t *testing.T, kind string, longest time.Duration) *course {
	work := t.TempDir()
	return &course{t: t, rng: random(t), kind: kind, dir: filepath.Join(source(t), "net"), longest: longest,
		store: "sqlite:" + filepath.Join(work, "tasks.db"), work: work, tally: make(map[string]int)}
}

// run first produces the uninterrupted result, and then interrupts tasks at the given number of
// points.
func (c *course) run(points int) {
	began := time.Now()
	s := start(c.t, c.store)
	out := filepath.Join(c.work, "uninterrupted")
	id := s.submit(c.kind, c.dir, out)
	s.reaches(id, "succeeded")
	stop(s)
	c.want = read(c.t, out)
	c.t.Logf("uninterrupted: %d bytes in %v", len(c.want), time.Since(began).Round(time.Millisecond))

	tasks := 1
	for done := 0; done < points; tasks++ {
		done += c.task(fmt.Sprintf("out-%d", tasks), points-done)
	}
	c.t.Logf("%d tasks, %v, in %v", tasks, c.tally, time.Since(began).Round(time.Millisecond))
	c.listed(tasks)
	if !strings.HasPrefix(c.store, "sqlite:") {
		return
	}
	left := files(c.t, filepath.Join(c.work, "tasks.db-workers"))
	left = slices.DeleteFunc(left, func(name string) bool { return !strings.HasSuffix(name, ".lock") })
	if len(left) > 0 {
		c.t.Errorf("lock files are left: %v", left)
	}
}

// task runs one task to its end, with at most atMost interruptions, and returns how many there
// were.
func (c *course) task(name string, atMost int) (points int) {
	var (
		id      string
		w       want
		entries int
		runs    int
		out     = filepath.Join(c.work, name)
	)
	for {
		how := drain
		if points < atMost && (points == 0 || c.rng.IntN(6) > 0) {
			how = c.next()
		}
		s := start(c.t, c.store, "--grace", how.grace)
		if id == "" {
			id = s.submit(c.kind, c.dir, out)
		}
		if c.taken(s, id, runs) {
			c.moment(s)
		}
		how.cut(s)
		r := show(c.t, c.store, id)
		status, reason, count := how.outcome(s, r)
		c.tally[how.name]++
		runs = r.Runs
		if r.Checkpoint.Entries < entries {
			c.t.Errorf("the checkpoint of %d entries went back to %d", entries, r.Checkpoint.Entries)
		}
		entries = r.Checkpoint.Entries
		if r.Status == "succeeded" {
			break
		}
		if r.Status != status || r.Status == "interrupted" && r.Reason != reason {
			c.t.Fatalf("after %s the task is %s (%s), want %s (%s)", how.name, r.Status, r.Reason, status, reason)
		}
		points++
		w.interruptions += count.interruptions
		w.crashes += count.crashes
		w.deadlines += count.deadlines
		w.stops += count.stops
	}
	c.verify(id, out, w)
	return points
}

// taken waits until this server has begun a run of the task, and reports whether the run is still
// active. The task of a killed server has the status running until the next server has taken it
// over.
func (c *course) taken(s *server, id string, runs int) bool {
	var r record
	s.until("a run of its own of "+id, func() bool {
		got, err := s.task(id)
		if err != nil {
			c.t.Fatalf("task %s: %v\n%s", id, err, s.text())
		}
		r = got
		return r.Runs > runs
	})
	return r.Status == "running"
}

// next returns the ways in random order, each as often as the others.
func (c *course) next() way {
	if len(c.deck) == 0 {
		c.deck = slices.Clone(ways)
		c.rng.Shuffle(len(c.deck), func(i, j int) { c.deck[i], c.deck[j] = c.deck[j], c.deck[i] })
	}
	w := c.deck[0]
	c.deck = c.deck[1:]
	return w
}

// moment lets the task run for a random time, after which the test interrupts it.
func (c *course) moment(s *server) {
	point := time.After(time.Duration(c.rng.Int64N(int64(c.longest))))
	select {
	case <-point:
	case <-s.done:
		c.t.Fatalf("the server ended by itself:\n%s", s.text())
	}
}

// verify checks the finished task: its file, its counters, its history.
func (c *course) verify(id, out string, w want) {
	c.t.Helper()
	if !bytes.Equal(read(c.t, out), c.want) {
		c.t.Errorf("%s differs from the uninterrupted result", out)
	}
	if left, err := filepath.Glob(filepath.Join(c.work, ".*.partial")); err != nil || len(left) > 0 {
		c.t.Errorf("partial files are left: %v %v", left, err)
	}
	c.lastOut = out
	r := show(c.t, c.store, id)
	if r.Attempts != 0 || r.Interruptions != w.interruptions || r.Crashes != w.crashes || r.Runs != w.interruptions+w.crashes+1 || r.Runs != len(r.History) {
		c.t.Errorf("task %s: %d runs, %d attempts, %d interruptions, %d crashes, history of %d; want %+v",
			id, r.Runs, r.Attempts, r.Interruptions, r.Crashes, len(r.History), w)
	}
	var h want
	for _, run := range r.History {
		switch {
		case run.Crashed && run.Reason == "lost":
			h.crashes++
		case run.Reason == "deadline":
			h.deadlines, h.interruptions = h.deadlines+1, h.interruptions+1
		case run.Reason == "stop":
			h.stops, h.interruptions = h.stops+1, h.interruptions+1
		}
	}
	if h != w {
		c.t.Errorf("task %s: its history says %+v, want %+v", id, h, w)
	}
}

// listed checks that all tasks are listed, and have succeeded.
func (c *course) listed(tasks int) {
	c.t.Helper()
	dec := json.NewDecoder(bytes.NewReader(command(c.t, "list", "--json", "--status", "succeeded", "--store", c.store)))
	n := 0
	for ; dec.More(); n++ {
		var r record
		if err := dec.Decode(&r); err != nil {
			c.t.Fatal(err)
		}
		if r.Kind != c.kind || r.Status != "succeeded" {
			c.t.Errorf("list --status succeeded has a %s that is %s", r.Kind, r.Status)
		}
	}
	if n != tasks {
		c.t.Errorf("list has %d tasks, want %d", n, tasks)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
