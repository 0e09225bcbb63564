//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lastcall-go/lastcall/internal/proc"
	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// The driver of the tests is this test binary again, with its tasks in a JSON file under a lock. It
// is as simple as possible: a worker is dead when its process is gone. With CHAOS_BREAK it does
// something wrong on purpose.

// fakeTask is a task in the file.
type fakeTask struct {
	history.Task
	Plan       history.Plan
	Checkpoint int
	Owner      int // the process of the current run, or 0
	Fence      int64
	Since      time.Time
	After      time.Time // not to be run before this time
	Cancelled  bool
}

type fakeState struct {
	Tasks  []*fakeTask
	Paused map[string]bool
	Fence  int64
}

// fakePath returns the path of the file, which is elsewhere in a test with PostgreSQL.
func fakePath() string {
	if path, ok := strings.CutPrefix(os.Getenv(wire.EnvStore), "sqlite:"); ok {
		return path
	}
	return filepath.Join(os.TempDir(), "tasks.json")
}

// update changes the file, as one transaction.
func update(change func(*fakeState)) {
	lock, err := os.OpenFile(fakePath()+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	must(err)
	defer lock.Close()
	must(syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	s := &fakeState{Paused: make(map[string]bool)}
	b, err := os.ReadFile(fakePath())
	if !errors.Is(err, os.ErrNotExist) {
		must(err)
		must(json.Unmarshal(b, s))
	}
	change(s)
	b, err = json.Marshal(s)
	must(err)
	must(os.WriteFile(fakePath()+".new", b, 0o600))
	must(os.Rename(fakePath()+".new", fakePath()))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "fake driver:", err)
		os.Exit(1)
	}
}

func fakeDriver(command string) int {
	switch command {
	case "setup", "upgrade":
		update(func(*fakeState) {})
	case "worker":
		fakeWorker()
	case "client":
		fakeClient()
	case "inspect":
		fakeInspect()
	case programCommand:
		fakeProgram()
	case "grandchild":
		_, _ = io.Copy(io.Discard, os.Stdin)
	}
	return 0
}

// fakeProgram starts a child that shares its standard input. Each ends when it has read a byte of
// it.
func fakeProgram() {
	child := exec.Command(os.Args[0], "grandchild")
	child.Stdin = os.Stdin
	must(child.Start())
	_, err := os.Stdin.Read(make([]byte, 1))
	must(err)
}

func fakeInspect() {
	s := history.State{Counts: make(map[string]int64)}
	update(func(f *fakeState) {
		for _, t := range f.Tasks {
			s.Tasks = append(s.Tasks, t.Task)
			s.Counts[t.Status]++
		}
	})
	if os.Getenv(wire.EnvBreak) == "ended" && len(s.Tasks) > 0 {
		s.Counts[s.Tasks[0].Status]--
		s.Tasks = s.Tasks[1:]
	}
	must(json.NewEncoder(os.Stdout).Encode(s))
}

func fakeClient() {
	conn, err := wire.Dial(context.Background(), "client")
	must(err)
	must(conn.Ready())
	for c := range conn.Calls() {
		a := history.Answer{Call: c.ID, Outcome: history.Refused}
		update(func(s *fakeState) { s.answer(c, &a) })
		if conn.Answer(a) != nil {
			return
		}
	}
}

func (s *fakeState) answer(c history.Call, a *history.Answer) {
	a.Outcome = history.Done
	switch c.Op {
	case history.Enqueue:
		for _, p := range c.Plans {
			id, existed := s.add(p)
			a.IDs, a.Existed = append(a.IDs, id), append(a.Existed, existed)
		}
	case history.Pause:
		s.Paused[c.Queue] = true
	case history.Resume:
		delete(s.Paused, c.Queue)
	case history.Cancel:
		for _, t := range s.Tasks {
			if t.Seq == c.Seq && t.Status == "queued" {
				t.Status = "cancelled"
				return
			}
		}
		a.Outcome = history.Refused
	default:
		a.Outcome = history.Refused
	}
}

func (s *fakeState) add(p history.Plan) (id string, existed bool) {
	for _, t := range s.Tasks {
		if p.Key != "" && t.Key == p.Key && (t.Status == "queued" || t.Status == "running") {
			return t.ID, true
		}
	}
	if id = p.ID; id == "" {
		id = fmt.Sprintf("fake-%d", p.Seq)
	}
	s.Tasks = append(s.Tasks, &fakeTask{Plan: p, After: time.Now().Add(time.Duration(p.DelayMS) * time.Millisecond),
		Task: history.Task{ID: id, Kind: p.Kind, Queue: p.Queue, Key: p.Key, Status: "queued", Seq: p.Seq}})
	return id, false
}

func fakeWorker() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if os.Getenv(wire.EnvBreak) == "grace" {
		ctx = context.WithoutCancel(ctx)
	}
	conn, err := wire.Dial(context.Background(), "worker")
	must(err)
	must(conn.Ready())
	var all sync.WaitGroup
	slots := make(chan struct{}, 16)
	for wire.Pause(ctx, 100*time.Millisecond) { // each look reads the whole file
		var mine []fakeTask
		update(func(s *fakeState) { mine = s.claim(cap(slots) - len(slots)) })
		for _, t := range mine {
			slots <- struct{}{}
			all.Go(func() {
				fakeRun(ctx, conn, t)
				<-slots
			})
		}
	}
	all.Wait()
}

// claim takes some tasks. First it requeues the tasks of dead workers.
func (s *fakeState) claim(n int) (mine []fakeTask) {
	for _, t := range s.Tasks {
		if t.Status == "running" && !proc.Alive(t.Owner) {
			t.end("interrupted", "queued", history.Run{Crashed: true, Reclaimed: true})
			t.Crashes++
		}
		if t.Status == "queued" && len(mine) < n && !s.Paused[t.Queue] && time.Now().After(t.After) {
			s.Fence++
			t.Status, t.Owner, t.Fence, t.Since = "running", os.Getpid(), s.Fence, time.Now()
			mine = append(mine, *t)
		}
	}
	return mine
}

// end ends the current run of a task.
func (t *fakeTask) end(run, status string, r history.Run) {
	r.Run, r.PID, r.Started, r.Ended, r.Status = t.Fence, t.Owner, t.Since, time.Now(), run
	t.Runs = append(t.Runs, r)
	t.Status, t.Owner = status, 0
}

// fakeRun executes one run of a task. Its end is written only if the run still owns the task.
func fakeRun(ctx context.Context, conn *wire.Conn, t fakeTask) {
	held := func(change func(t *fakeTask)) {
		update(func(s *fakeState) {
			for _, now := range s.Tasks {
				if now.Seq == t.Seq && now.Status == "running" && now.Fence == t.Fence {
					change(now)
				}
			}
		})
	}
	effect := func(step, resumed int) bool {
		return conn.Effect(context.Background(), history.Effect{Seq: t.Seq, TaskID: t.ID, Step: step, Fence: t.Fence, Resumed: resumed}) == nil
	}
	if !effect(history.Begun, t.Checkpoint) {
		return
	}
	for at := t.Checkpoint; at < t.Plan.Steps; at++ {
		if !wire.Pause(ctx, time.Duration(t.Plan.PaceMS)*time.Millisecond) {
			held(func(t *fakeTask) {
				t.Checkpoint = at
				t.Interruptions++
				t.end("interrupted", "queued", history.Run{Reason: "stop"})
			})
			return
		}
		if !effect(at, 0) {
			return
		}
		switch {
		case len(t.Runs) < t.Plan.Exit:
			os.Exit(1)
		case len(t.Runs) < t.Plan.Exit+t.Plan.Fail:
			held(func(t *fakeTask) {
				t.Attempts++
				if t.Attempts >= 3 {
					t.end("failed", "failed", history.Run{Error: "as planned"})
				} else {
					t.end("queued", "queued", history.Run{Error: "as planned"})
				}
			})
			return
		}
		if t.Plan.Save {
			held(func(t *fakeTask) { t.Checkpoint = at + 1 })
		}
	}
	if effect(history.Finished, 0) {
		held(func(t *fakeTask) {
			t.Result = t.Plan.Result
			t.end("succeeded", "succeeded", history.Run{})
		})
	}
}
