package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/httpapi"
)

// rollout is a demonstration with several servers, which are replaced one by one.
type rollout struct {
	d      *demonstration
	w      io.Writer
	client *task.Client
	ids    []string
}

// rollOut runs servers on one store, replaces each, waits until all tasks are done, and checks the
// histories of the tasks.
func (d *demonstration) rollOut(ctx context.Context, out io.Writer) (err error) {
	ctx, stop := untilInterrupt(ctx)
	defer stop()
	store, err := openStore(ctx, d.store(), openOptions{create: true}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	r := &rollout{d: d, w: out, client: task.NewClient(store)}
	var goesOn bool
	if r.ids, goesOn, err = d.plan(ctx, r.client); err != nil {
		return err
	}
	if goesOn {
		r.say("going on with the tasks of the last demonstration")
	}
	r.say("%d tasks on %s, %d servers on one store", len(r.ids), d.tree, d.workers)
	var servers []*member
	defer func() {
		for _, m := range servers { // servers that still run after an error or Ctrl-C
			err = errors.Join(err, m.stop(d.grace))
		}
	}()
	for i := range d.workers {
		m, err := r.start(ctx, i+1)
		if err != nil {
			return err
		}
		servers = append(servers, m)
	}
	for i := range servers {
		if err := r.replace(ctx, servers, i); err != nil {
			return err
		}
	}
	r.say("every server is replaced; the rest of the tasks")
	if err := r.until(ctx, allEnded); err != nil {
		return err
	}
	return r.judge(ctx)
}

func (r *rollout) say(format string, args ...any) {
	_, _ = fmt.Fprintf(r.w, format+"\n", args...) // an output that cannot be written is no error
}

// replace starts a new server, and then stops an old one.
func (r *rollout) replace(ctx context.Context, servers []*member, i int) error {
	// The old server must be running tasks, so that there is something to hand over.
	pid := servers[i].cmd.Process.Pid
	var held []string
	err := r.until(ctx, func(tasks []task.Task) bool {
		held = r.holding(ctx, pid, tasks)
		return len(held) > 0 || allEnded(tasks)
	})
	if err != nil {
		return err
	}
	m, err := r.start(ctx, len(servers)+i+1)
	if err != nil {
		return err
	}
	old := servers[i]
	servers[i] = m
	begin := time.Now()
	if err := old.stop(r.d.grace); err != nil {
		return err
	}
	r.say("server %d (pid %d): SIGTERM, and %.1fs later exit code 0", old.n, pid, time.Since(begin).Seconds())
	return nil
}

// holding returns the tasks that a process is running.
func (r *rollout) holding(ctx context.Context, pid int, tasks []task.Task) []string {
	workers, err := r.client.Workers(ctx)
	if err != nil {
		return nil
	}
	var ids []string
	for _, w := range workers {
		for _, t := range tasks {
			if w.PID == pid && t.Status == task.StatusRunning && t.Worker == w.Worker {
				ids = append(ids, t.ID)
			}
		}
	}
	return ids
}

// until reads the tasks again and again until they are as wanted.
func (r *rollout) until(ctx context.Context, ok func([]task.Task) bool) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		tasks, err := r.client.Find(ctx, task.Query{IDs: r.ids, Limit: len(r.ids)})
		if err != nil {
			return err
		}
		if ok(tasks) {
			return nil
		}
		select {
		case <-ctx.Done():
			return exitError(interruptedCode)
		case <-tick.C:
		}
	}
}

// judge reads every task's history and prints what was handed over, and whether anything was done
// twice: two runs of a task at the same time, or a run after the task had succeeded.
func (r *rollout) judge(ctx context.Context) error {
	tasks, err := r.client.Find(ctx, task.Query{IDs: r.ids, Limit: len(r.ids)})
	if err != nil {
		return err
	}
	var v verdict
	for _, t := range tasks {
		runs, err := r.client.History(ctx, t.ID)
		if err != nil {
			return err
		}
		v.add(t, httpapi.NewRuns(runs))
	}
	for _, line := range v.lines() {
		r.say("%s", line)
	}
	if len(v.wrong) > 0 {
		return fmt.Errorf("demo: %s", strings.Join(v.wrong, "; "))
	}
	return nil
}

// verdict is what the histories of tasks show.
type verdict struct {
	tasks, succeeded int
	gaps             []time.Duration // from an interruption to the next run
	wrong            []string
}

// add judges one task.
func (v *verdict) add(t task.Task, runs []httpapi.Run) {
	v.tasks++
	successes := 0
	for i, r := range runs {
		if r.Status == task.StatusSucceeded {
			successes++
		}
		if i == 0 {
			continue
		}
		before := runs[i-1]
		if before.EndedAt.IsZero() || r.StartedAt.Before(before.EndedAt) {
			v.wrong = append(v.wrong, fmt.Sprintf("task %s had two runs at the same time", t.ID))
		}
		if before.Status == task.StatusInterrupted {
			v.gaps = append(v.gaps, max(r.StartedAt.Sub(before.EndedAt), 0))
		}
	}
	switch {
	case t.Status == task.StatusSucceeded && successes == 1:
		v.succeeded++
	case successes > 1:
		v.wrong = append(v.wrong, fmt.Sprintf("task %s was done %d times", t.ID, successes))
	default:
		v.wrong = append(v.wrong, fmt.Sprintf("task %s is %s: %s", t.ID, t.Status, plain(t.Error)))
	}
}

func (v *verdict) lines() []string {
	slices.Sort(v.gaps)
	handed := "nothing had to be handed over"
	if n := len(v.gaps); n > 0 {
		handed = fmt.Sprintf("%d runs were handed over to another server: the next run began %v later in the middle, %v at most",
			n, v.gaps[n/2].Round(time.Millisecond), v.gaps[n-1].Round(time.Millisecond))
	}
	lines := []string{fmt.Sprintf("%d of %d tasks have succeeded", v.succeeded, v.tasks), handed}
	if len(v.wrong) == 0 {
		lines = append(lines, "no task was done twice, and no two runs of a task overlapped")
	}
	return lines
}

// member is a server of a rollout.
type member struct {
	n     int
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
	err   error         // how, once it has
	log   tail
}

// tail keeps the end of what was written to it.
type tail []byte

// maxTail is how many bytes of it are kept.
const maxTail = 4 << 10

// Write appends, and drops the oldest bytes beyond maxTail.
func (t *tail) Write(b []byte) (int, error) {
	*t = append(*t, b...)
	if over := len(*t) - maxTail; over > 0 {
		*t = append((*t)[:0], (*t)[over:]...)
	}
	return len(b), nil
}

// start starts a server and waits until it serves.
func (r *rollout) start(ctx context.Context, n int) (*member, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "serve", "--store", r.d.store(), "--demo-kinds", "--listen", "127.0.0.1:0", //nolint:noctx // it is stopped by a signal
		"--grace", r.d.grace.String(), "--concurrency", fmt.Sprint(r.d.concurrency))
	ownGroup(cmd)
	m := &member{n: n, cmd: cmd, ended: make(chan struct{})}
	cmd.Stderr = &m.log
	printed, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan struct{})
	go func() {
		defer close(m.ended)
		lines := bufio.NewScanner(printed)
		for once := false; lines.Scan(); {
			if !once && strings.HasPrefix(lines.Text(), "lastcall serves ") {
				close(ready)
				once = true
			}
		}
		m.err = cmd.Wait()
	}()
	select {
	case <-ready:
		r.say("server %d (pid %d) works", n, cmd.Process.Pid)
		return m, nil
	case <-ctx.Done():
		return nil, errors.Join(exitError(interruptedCode), m.stop(r.d.grace))
	case <-m.ended:
		return nil, fmt.Errorf("server %d ended before it served: %w\n%s", n, m.err, m.log)
	}
}

// stop ends a server as a platform does: with SIGTERM, and with SIGKILL if the server still runs a
// second after its grace.
func (m *member) stop(grace time.Duration) error {
	select {
	case <-m.ended:
	default:
		if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}
	select {
	case <-m.ended:
	case <-time.After(grace + time.Second):
		if err := m.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		<-m.ended
	}
	if m.err != nil {
		return fmt.Errorf("server %d: %w\n%s", m.n, m.err, m.log)
	}
	return nil
}
