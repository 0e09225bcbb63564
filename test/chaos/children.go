//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// lookForChildren is the interval between two searches for children of programs.
const lookForChildren = 500 * time.Millisecond

// children monitors the processes that the programs of runs have started. A run is identified by
// its environment, which its program and all its descendants inherit.
type children struct {
	mark  string
	rec   *record
	alone map[string]*family // by run: those whose program has ended
}

// family is the set of processes of one run.
type family struct {
	worker  string
	program bool  // the program itself exists
	others  []int // the processes that it has started
	since   time.Time
	latest  time.Time
}

// watchChildren monitors the runs' children until ctx ends or stop is called, then looks once more.
func (r *run) watchChildren(ctx context.Context, every time.Duration) (stop func()) {
	c := children{mark: r.mark(), rec: r.rec, alone: make(map[string]*family)}
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		for wire.Pause(ctx, every) {
			c.look(time.Now())
		}
		c.look(time.Now())
		for run, f := range c.alone {
			c.tell(run, f)
		}
	})
	return func() {
		cancel()
		watch.Wait()
	}
}

// look compares the current processes with those of the last look. A process that is about to
// become the program of a run is not counted as one, so until the next look its children seem to be
// alone.
func (c *children) look(now time.Time) {
	there := families(c.mark)
	for run, f := range c.alone {
		if there[run] == nil {
			c.tell(run, f)
			delete(c.alone, run)
		}
	}
	for run, f := range there {
		if f.program {
			delete(c.alone, run)
			continue
		}
		f.since, f.latest = now, now
		if before := c.alone[run]; before != nil {
			f.since = before.since
		}
		c.alone[run] = f
	}
}

// tell records for how long a run's children were seen without their program.
func (c *children) tell(run string, f *family) {
	if lasted := f.latest.Sub(f.since); lasted > 0 {
		c.rec.add(history.Event{Process: &history.Process{Name: f.worker, What: history.Outlived, Lasted: lasted, Left: fmt.Sprintf("processes %v of run %s", f.others, run)}})
	}
}

// families returns the processes of the runs' programs, by run.
func families(mark string) map[string]*family {
	all := make(map[string]*family)
	for _, pid := range marked(mark) {
		dir := "/proc/" + strconv.Itoa(pid)
		env, err := os.ReadFile(dir + "/environ")
		line, e := os.ReadFile(dir + "/cmdline")
		variables := bytes.Split(env, []byte{0})
		fence := valueOf(variables, "LASTCALL_FENCE")
		if err != nil || e != nil || fence == "" { // it has ended, or is another kind of process
			continue
		}
		run := fence + " of task " + valueOf(variables, "LASTCALL_TASK_ID")
		f := all[run]
		if f == nil {
			f = &family{worker: valueOf(variables, wire.EnvName)}
			all[run] = f
		}
		if slices.ContainsFunc(bytes.Split(line, []byte{0}), func(arg []byte) bool { return string(arg) == programCommand }) {
			f.program = true
		} else {
			f.others = append(f.others, pid)
		}
	}
	return all
}

// programCommand is the command of the driver that identifies a program.
const programCommand = "program"

func valueOf(variables [][]byte, name string) string {
	for _, v := range variables {
		if rest, ok := bytes.CutPrefix(v, []byte(name+"=")); ok {
			return string(rest)
		}
	}
	return ""
}
