package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/demo"
	"github.com/lastcall-go/lastcall/prom"
	"github.com/lastcall-go/lastcall/task"
)

// view shows tasks while they run: as a picture on a terminal, as lines elsewhere.
type view struct {
	w      io.Writer
	live   bool
	client *task.Client
	ids    []string

	names  map[string]string
	was    map[string]task.Status
	phase  string
	height int // of the picture on the terminal
}

func newView(w io.Writer, client *task.Client, ids []string) *view {
	return &view{w: w, live: isTerminal(w), client: client, ids: ids, names: make(map[string]string), was: make(map[string]task.Status), phase: "running"}
}

func (v *view) print(format string, args ...any) {
	_, _ = fmt.Fprintf(v.w, format, args...) // an output that cannot be written is no error
}

// begin prints what the demonstration will show.
func (v *view) begin(d *demonstration, goesOn bool) {
	what := "new"
	if goesOn {
		what = "going on where the last demonstration stopped"
	}
	v.print("%d tasks on %s, %s; results in %s\nCtrl-C stops, within %v\n\n", len(v.ids), d.tree, what, filepath.Join(d.dir, "results"), d.grace)
}

// watch shows the tasks until they are done, and then calls stop; or until the worker has ended.
func (v *view) watch(ctx context.Context, ended <-chan struct{}, stop func()) error {
	last := lastcall.UntilAbandon(ctx)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for stopped := false; ; {
		tasks, err := v.look(last)
		if err != nil {
			return err
		}
		left, ok := lastcall.TimeLeft(ctx)
		v.show(tasks, prom.StopPhase(ctx), left, ok)
		if !stopped && allEnded(tasks) {
			stop()
			stopped = true
		}
		select {
		case <-last.Done():
			return context.Cause(last)
		case <-tick.C:
		case <-ended:
			if tasks, err = v.look(last); err == nil {
				v.show(tasks, "close", 0, false)
				v.sum(tasks)
			}
			return err
		}
	}
}

// look reads the tasks, in the order of the plan.
func (v *view) look(ctx context.Context) ([]task.Task, error) {
	found, err := v.client.Find(ctx, task.Query{IDs: v.ids, Limit: len(v.ids)})
	if err != nil {
		return nil, err
	}
	byID := make(map[string]task.Task, len(found))
	for _, t := range found {
		byID[t.ID] = t
	}
	var tasks []task.Task
	for _, id := range v.ids {
		if t, ok := byID[id]; ok {
			tasks = append(tasks, t)
		}
	}
	return tasks, nil
}

func allEnded(tasks []task.Task) bool {
	for _, t := range tasks {
		if !t.Status.Ended() {
			return false
		}
	}
	return true
}

// show shows what is new.
func (v *view) show(tasks []task.Task, phase string, left time.Duration, deadline bool) {
	if v.live {
		lines := v.picture(tasks, phase, left, deadline)
		if v.height > 0 {
			move(v.w, "\x1b[%dA", v.height)
		}
		for _, line := range lines {
			move(v.w, "\x1b[K")
			v.print("%s\n", plain(line))
		}
		move(v.w, "\x1b[J")
		v.height = len(lines)
		return
	}
	if phase != v.phase {
		text := "stop: " + phase
		if deadline {
			text += fmt.Sprintf(", %.1fs left", left.Seconds())
		}
		v.print("%s\n", text)
		v.phase = phase
	}
	for i, t := range tasks {
		if v.was[t.ID] == t.Status {
			continue
		}
		if first := v.was[t.ID] == ""; !first || t.Status != task.StatusQueued && t.Status != task.StatusSucceeded {
			v.print("%2d %s %s  %s%s\n", i+1, pad(v.name(t), 26), percentDone(t.Status, t.Progress.Fraction), statusWord(t.Status, t.Reason), runNumber(t))
		}
		v.was[t.ID] = t.Status
	}
}

// picture returns the lines for a terminal: one with a sign for each task, and a bar for each task
// that is running or was interrupted.
func (v *view) picture(tasks []task.Task, phase string, left time.Duration, deadline bool) []string {
	signs := map[task.Status]string{task.StatusQueued: "·", task.StatusRunning: "▸", task.StatusInterrupted: "‖", task.StatusSucceeded: "█", task.StatusFailed: "✗", task.StatusCancelled: "-"}
	head := "phase " + pad(phase, 10)
	if deadline {
		head += fmt.Sprintf("%5.1fs left", left.Seconds())
	}
	row := ""
	for _, t := range tasks {
		row += signs[t.Status]
	}
	width := columns(v.w) - 1
	lines := []string{cut(row, width), cut(head, width)}
	for i, t := range tasks {
		if t.Status == task.StatusRunning || t.Status == task.StatusInterrupted {
			lines = append(lines, cut(fmt.Sprintf("%2d %s %s %3.0f%%  %s%s", i+1, pad(cut(v.name(t), 26), 26), drawBar(t.Progress.Fraction, 20),
				100*t.Progress.Fraction, statusWord(t.Status, t.Reason), runNumber(t)), width))
		}
	}
	return lines[:min(len(lines), 20)]
}

// runNumber names the number of a run that is not the first.
func runNumber(t task.Task) string {
	if t.Runs < 2 {
		return ""
	}
	return fmt.Sprintf(", run %d", t.Runs)
}

// name is a short name for what a task works on.
func (v *view) name(t task.Task) string {
	if name, ok := v.names[t.ID]; ok {
		return name
	}
	name := t.Kind
	var a demo.Args
	if err := json.Unmarshal(t.Payload, &a); err == nil {
		name = strings.TrimSuffix(t.Kind, "-tree") + " " + plain(filepath.Base(a.Dir))
	}
	v.names[t.ID] = name
	return name
}

// sum prints the final state of the tasks.
func (v *view) sum(tasks []task.Task) {
	n := make(map[task.Status]int)
	interruptions, runs := 0, 0
	for _, t := range tasks {
		n[t.Status]++
		interruptions += t.Interruptions
		runs += t.Runs
	}
	v.print("\n%d succeeded, %d failed, %d interrupted with a checkpoint, %d not begun; %d runs, of which %d were interrupted\n",
		n[task.StatusSucceeded], n[task.StatusFailed], n[task.StatusInterrupted], n[task.StatusQueued], runs, interruptions)
	if n[task.StatusInterrupted]+n[task.StatusQueued] > 0 {
		v.print("run it again: it goes on from there\n")
	}
}
