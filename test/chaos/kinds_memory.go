//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// memoryKinds are faults that run processes out of memory.
func memoryKinds() []kind {
	return []kind{{name: "oom", what: "A worker is moved to a memory cgroup without free memory, and the kernel kills it.", scope: oneWorker,
		timing: between(8*time.Second, 10*time.Second, restart), needs: func(r *run) error { return r.memory().usable() }, do: outOfMemory}}
}

// outOfMemory moves a worker to a cgroup with hardly any memory. What the worker already uses is
// still charged to its old cgroup, so the kernel kills it when it asks for more.
func outOfMemory(ctx context.Context, r *run, f Fault) error {
	return hit(ctx, r, f, func(p *process) (err error) {
		g := r.memory().child(fmt.Sprintf("fault-%d", f.ID))
		if err := g.create(256 << 10); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, g.remove()) }()
		if err := g.add(p.pid()); err != nil && p.alive() {
			return err
		}
		if !p.endsWithin(ctx, time.Duration(f.For)) {
			p.kill() // it did not ask for memory
		}
		return nil
	})
}

// cgroup is a cgroup of version 1 or 2 with one limit.
type cgroup struct {
	dir   string
	limit string // the file of the limit
	err   error  // why it cannot be used
}

// The controllers of cgroups, and the files of their limits in version 1 and 2.
const (
	memoryController = "memory"
	pidsController   = "pids"
)

var limitFiles = map[string][2]string{memoryController: {"memory.limit_in_bytes", "memory.max"}, pidsController: {"pids.max", "pids.max"}}

// removeCgroups removes the cgroups of a run.
func removeCgroups(name string) error {
	return errors.Join(ownCgroup(memoryController, name).remove(), ownCgroup(pidsController, name).remove())
}

// ownCgroup returns the cgroup of a controller below which a run creates its own.
func ownCgroup(controller, name string) cgroup {
	lines, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return cgroup{err: err}
	}
	for line := range strings.Lines(string(lines)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(parts) < 3:
		case parts[1] == controller:
			return cgroup{dir: filepath.Join("/sys/fs/cgroup", controller, parts[2], name), limit: limitFiles[controller][0]}
		case parts[0] == "0":
			dir := filepath.Join("/sys/fs/cgroup", parts[2])
			if b, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control")); err == nil && slices.Contains(strings.Fields(string(b)), controller) {
				return cgroup{dir: filepath.Join(dir, name), limit: limitFiles[controller][1]}
			}
		}
	}
	return cgroup{err: fmt.Errorf("no %s cgroup in which this process may make others", controller)}
}

// usable creates the cgroup, or returns why it cannot.
func (g cgroup) usable() error {
	if g.err != nil {
		return g.err
	}
	if err := os.Mkdir(g.dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("no cgroup can be made: %w", err)
	}
	return nil
}

func (g cgroup) child(name string) cgroup {
	return cgroup{dir: filepath.Join(g.dir, name), limit: g.limit}
}

func (g cgroup) create(most int64) error {
	if err := os.Mkdir(g.dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(g.dir, g.limit), []byte(strconv.FormatInt(most, 10)), 0o600)
}

func (g cgroup) add(pid int) error {
	return os.WriteFile(filepath.Join(g.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o600)
}

// remove removes the cgroup and those below it. They have no processes any more, but may seem to
// have some for a moment.
func (g cgroup) remove() error {
	if g.dir == "" {
		return nil
	}
	below, _ := filepath.Glob(filepath.Join(g.dir, "*", "cgroup.procs")) // the pattern is valid
	for _, path := range below {
		if err := (cgroup{dir: filepath.Dir(path)}).remove(); err != nil {
			return err
		}
	}
	var err error
	for range 100 {
		if err = os.Remove(g.dir); err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("remove the cgroup: %w", err)
}
